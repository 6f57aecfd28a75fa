"""Scenes: labels move with the pixels, and the same number gives the same scene."""

import numpy as np
import pytest

pytest.importorskip("torch")

from humanparse.labels import CIHP
from humanparse.training.photos import held_out, load_photos
from humanparse.training.scenes import KINDS, SceneMaker, empty_scene, paste_person
from humanparse.training.targets import targets
from humanparse.training.wears import IGNORE


@pytest.fixture(scope="module")
def photos(data):
    return load_photos(data, validation=False)


def test_validation_photos_are_not_trained_on(data, photos):
    held = load_photos(data, validation=True)
    assert [photo.name for photo in held.labelled] == ["0240"] and [
        photo.name for photo in held.backgrounds
    ] == ["house-009"]
    assert [photo.name for photo in photos.labelled] == ["0001", "0002", "0003"]
    numbers = [number for number in range(1, 1004) if held_out(f"{number:04}")]
    assert len(numbers) == 100 and numbers[:2] == [225, 226]


def test_a_missing_folder_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="ccp/, backgrounds/ and teachers/"):
        load_photos(tmp_path, validation=True)


def test_passers_by_are_not_part_of_the_person(photos):
    photo = photos.labelled[0]
    assert (
        photo.labels[40, 58] == IGNORE and photo.people[40, 58] == -1 and photo.people[40, 30] == 1
    )


def test_a_scene_is_the_same_every_time(photos):
    one, again = SceneMaker(photos, seed=3).make(5, 64), SceneMaker(photos, seed=3).make(5, 64)
    assert (one.pixels == again.pixels).all() and (one.classes == again.classes).all()
    other = SceneMaker(photos, seed=4).make(5, 64)
    assert other.pixels.shape == one.pixels.shape and (other.pixels != one.pixels).any()


def test_every_kind_of_scene_comes_and_makes_sense(photos):
    trusts = set()
    for index in range(60):
        scene = SceneMaker(photos, seed=0).make(index, 64)
        trusts.add(scene.teacher_trust)
        assert scene.pixels.shape == (64, 64, 3) and scene.pixels.dtype == np.uint8
        known = scene.classes[scene.classes != IGNORE]
        assert known.size == 0 or known.max() < 20
        assert scene.people.max() <= scene.num_people
        assert (scene.person[scene.people > 0] == 1).all()
    assert len(trusts) == 3 and len(KINDS) == 6


def pasted(photos, flip: bool):
    rng = np.random.default_rng(0)
    scene = empty_scene(rng, photos.backgrounds[0], 96)
    paste_person(
        rng,
        scene,
        photos.labelled[0],
        height_px=76,
        x=48,
        y=48,
        angle=0,
        flip=flip,
        colours=lambda pixels: pixels,
    )
    return scene


def test_left_and_right_stay_the_persons_own_when_a_photo_is_mirrored(photos):
    straight, mirrored = pasted(photos, flip=False), pasted(photos, flip=True)
    for label in (14, 15, 16, 17):
        here, there = (
            np.nonzero(scene.classes == label)[1].mean() for scene in (straight, mirrored)
        )
        # same side of the picture: colours moved over, names did not
        assert here == pytest.approx(there, abs=1.5)
    left, right = (
        np.nonzero(straight.classes == 14)[1].mean(),
        np.nonzero(straight.classes == 15)[1].mean(),
    )
    assert left > right
    assert straight.pixels[60, 55].tolist() != mirrored.pixels[60, 55].tolist()


def test_who_is_pasted_later_stands_in_front(photos):
    rng = np.random.default_rng(0)
    scene = empty_scene(rng, photos.backgrounds[0], 96)
    for x in (40, 50):
        paste_person(
            rng,
            scene,
            photos.labelled[0],
            height_px=76,
            x=x,
            y=48,
            angle=0,
            flip=False,
            colours=lambda pixels: pixels,
        )
    assert scene.num_people == 2 and (scene.people == 2).sum() > (scene.people == 1).sum() > 0


def test_offsets_lead_to_the_centre_and_the_centre_is_a_peak(photos):
    scene = pasted(photos, flip=False)
    wanted = targets(scene, stride=4, phase=1, labels=CIHP)
    y, x = np.unravel_index(wanted["centre"].argmax(), wanted["centre"].shape)
    assert wanted["centre"][y, x] == 1
    ys, xs = np.nonzero(wanted["offset_weight"])
    reached_x = xs * 4 + 2 + wanted["offset"][0, ys, xs]
    reached_y = ys * 4 + 2 + wanted["offset"][1, ys, xs]
    assert np.ptp(reached_x) < 0.01 and np.ptp(reached_y) < 0.01
    assert int(reached_x[0] / 4) == x and int(reached_y[0] / 4) == y


def test_there_are_no_targets_where_nothing_is_known(photos):
    scene = pasted(photos, flip=False)
    scene.people[:, :40] = -1
    scene.person[:, :40] = 0.5
    wanted = targets(scene, stride=4, phase=2, labels=CIHP)
    assert (wanted["centre"][:, :9] == -1).all() and (wanted["person_weight"][:, :9] == 0).all()
    assert (wanted["offset_weight"][:, :9] == 0).all()
