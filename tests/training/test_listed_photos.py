"""Photos with only outlines and lists: read, split, made into scenes, learnt from and measured."""

import json
import shutil

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from humanparse import HumanParser
from humanparse.errors import OptionError
from humanparse.labels import CIHP
from humanparse.training import photos as P
from humanparse.training import yardstick as Y
from humanparse.training.scenes import MIRRORED_CIHP, SceneMaker
from humanparse.training.targets import MAX_TAUGHT, targets
from humanparse.training.wears import IGNORE, LISTED, bits

UPPER, PANTS, COAT, HAT = map(CIHP.index, ("UpperClothes", "Pants", "Coat", "Hat"))
LEARNT, HELD_OUT, CHOOSING = (
    next(f"{n:012}" for n in range(99) if test(f"{n:012}"))
    for test in (P.is_learnt_everyday, P.held_out_everyday, P.for_choosing)
)
DESCRIBED = {
    "kind": "person",
    "wears": ["UpperClothes", "Pants"],
    "unsure": ["Coat"],
    "main": "UpperClothes",
    "left_at": "right",
}


def box(x0: int, y0: int, x1: int, y1: int) -> list[list[float]]:
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


@pytest.fixture(scope="module")
def listed(data, tmp_path_factory):
    """The made-up data folder, with three everyday photos, one of each part, and tags.

    The tags are for the unlabelled photos.
    """
    root = tmp_path_factory.mktemp("listed") / "data"
    shutil.copytree(data, root)
    (root / "coco/photos").mkdir(parents=True)
    rng = np.random.default_rng(1)
    people = [
        {"polygons": box(10, 10, 70, 110), "crowd": 0, "described": DESCRIBED},
        {"polygons": box(60, 20, 100, 100), "crowd": 0},
        {"polygons": box(110, 60, 139, 100), "crowd": 1},
    ]
    for name in (LEARNT, HELD_OUT, CHOOSING):
        cv2.imwrite(
            str(root / f"coco/photos/{name}.jpg"),
            rng.integers(0, 256, (120, 140, 3), dtype=np.uint8),
        )
    lines = {
        name: {"width": 140, "height": 120, "people": people}
        for name in (LEARNT, HELD_OUT, CHOOSING)
    }
    (root / "coco/people.json").write_text(json.dumps(lines))
    shutil.copy(root / "ccp/unlabelled/1005.jpg", root / "ccp/unlabelled/1110.jpg")
    (root / "ccp/tags.tsv").write_text(
        "photo\tclasses\ttags\n1005\tCoat Pants\tcoat\n1110\tHat\that\n"
    )
    return root


@pytest.fixture(scope="module")
def guesses(listed, tmp_path_factory):
    """Class maps for the photos with lists: a coat for everybody in the upper half."""
    folder = tmp_path_factory.mktemp("guesses")
    guessed = np.full((120, 140), LISTED, np.uint8)
    guessed[:50] = COAT
    cv2.imwrite(str(folder / f"{LEARNT}.png"), guessed)
    body = np.zeros((96, 64), np.uint8)
    body[10:80, 20:40] = PANTS
    body[80:, :] = IGNORE
    cv2.imwrite(str(folder / "1005.png"), body)
    return folder


@pytest.fixture(scope="module")
def photos(listed, guesses):
    return P.load_photos(listed, validation=False, guesses=guesses)


def test_each_everyday_photo_is_in_one_part_alone(listed, photos):
    held = P.load_photos(listed, validation=True)
    choosing = P.load_everyday(listed, P.for_choosing)
    parts = [[photo.name for photo in part] for part in (photos.everyday, held.everyday, choosing)]
    assert parts == [[LEARNT], [HELD_OUT], [CHOOSING]]
    assert [photo.name for photo in photos.tagged] == ["1005"] and [
        photo.name for photo in held.tagged
    ] == ["1110"]
    assert not {photo.name for photo in photos.unlabelled} & {"1005", "1110"}


def test_outlines_are_people_with_lists_crowds_are_unknown_and_edges_too(listed):
    (photo,) = P.load_everyday(listed, P.is_learnt_everyday)
    assert photo.possible == (bits({UPPER, PANTS, COAT}), 0) and photo.lists[0].left_at == "right"
    assert photo.people[60, 30] == 1 and photo.labels[60, 30] == LISTED
    assert photo.people[60, 80] == 2 and photo.labels[60, 80] == IGNORE
    assert photo.people[80, 120] == P.UNKNOWN_PERSON and photo.labels[80, 120] == IGNORE
    assert (
        photo.people[60, 10] == P.UNKNOWN_PERSON and photo.labels[5, 5] == photo.people[5, 5] == 0
    )
    (exact,) = P.load_everyday(listed, P.is_learnt_everyday, band=False)
    assert (exact.people[60, 10:60] == 1).all()


def test_guessed_classes_fill_what_the_list_left_open(photos):
    everyday, tagged = photos.everyday[0], photos.tagged[0]
    assert everyday.labels[30, 30] == COAT and everyday.labels[60, 30] == LISTED
    assert everyday.labels[30, 80] == IGNORE and everyday.labels[5, 5] == 0
    assert (
        tagged.people[40, 30] == 1
        and tagged.labels[40, 30] == PANTS
        and tagged.people[90, 5] == P.UNKNOWN_PERSON
    )


def test_without_guesses_tagged_photos_are_unlabelled_ones(listed):
    photos = P.load_photos(listed, validation=False)
    assert photos.tagged == [] and "1005" in {photo.name for photo in photos.unlabelled}
    assert (photos.everyday[0].labels != COAT).all()


def test_guesses_of_other_photos_and_damaged_photos_are_refused(listed, tmp_path):
    cv2.imwrite(str(tmp_path / f"{LEARNT}.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(OptionError, match=rf"{LEARNT}\.png was not made for the photo"):
        P.load_photos(listed, validation=False, guesses=tmp_path)
    root = tmp_path / "data"
    shutil.copytree(listed, root)
    (root / "ccp/train/labels/0002.png").write_bytes(b"no picture")
    with pytest.raises(OptionError, match=r"0002\.png is missing or damaged"):
        P.load_photos(root, validation=False)


def test_scenes_of_every_kind_come_and_know_what_may_be_worn(photos):
    maker, seen = SceneMaker(photos, seed=0), set()
    for index in range(80):
        scene = maker.make(index, 64)
        assert len(scene.possible) == scene.num_people >= scene.people.max()
        known = scene.classes[(scene.people > 0) & (scene.classes < 20)]
        seen |= set(np.unique(known).tolist())
        wanted = targets(scene, stride=4, phase=1, labels=CIHP)
        assert wanted["worn"].shape == (MAX_TAUGHT, 20) and wanted["owner"].max() <= MAX_TAUGHT
        assert (wanted["sets"][wanted["classes"] != IGNORE] == 0).all()
    assert COAT in seen and PANTS in seen


def test_the_targets_of_a_person_follow_their_list(photos):
    maker = SceneMaker(photos, seed=0)
    scene = maker._everyday(np.random.default_rng(2), 160)
    wanted = targets(scene, stride=4, phase=1, labels=CIHP)
    first = wanted["worn"][0]
    assert first[COAT] == 1 and first[HAT] == 0 and first[PANTS] == -1
    open_cells = (wanted["owner"] == 1) & (wanted["sets"] > 0)
    assert open_cells.any() and set(wanted["sets"][open_cells]) == {bits({UPPER, PANTS, COAT})}
    assert (wanted["worn"][1] == -1).all()  # nobody described the second


def test_left_and_right_of_a_list_follow_a_mirrored_scene(photos):
    assert MIRRORED_CIHP[CIHP.index("Left-arm")] == CIHP.index("Right-arm")
    labelled = photos.labelled[0]
    assert labelled.possible[0] >> CIHP.index("Left-leg") & 1


def test_the_yardstick_counts_people_large_enough_and_what_they_wear(listed):
    held = P.load_photos(listed, validation=True)
    parser = HumanParser()
    every = Y.everyday(parser, held.everyday)
    assert every.outfits.people == 1 and every.people.missed + every.people.found >= 1
    text = Y.report_lists(Y.measure_lists(parser, held))
    for words in (
        "person PQ",
        "outfit exactly right",
        "garment F1",
        "mirrored: class changes",
        "Scarf",
    ):
        assert words in text


def test_a_photo_and_its_result_that_do_not_change_are_steady():
    steady = Y.Steady()
    parsing = HumanParser().parse(np.zeros((64, 64, 3), np.uint8))
    steady.add(parsing, parsing.label_map, len(parsing.people))
    assert steady.share == 0 and steady.recounted == 0 and steady.photos == 1
