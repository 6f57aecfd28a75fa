"""M2FP's queries become linked people. Made-up instances: each query is a block with one class."""

import cv2
import numpy as np
import pytest
from sampled import sample_map

from humanparse import preprocess
from humanparse.labels import CIHP
from humanparse.postprocess import instances
from humanparse.postprocess.assemble import left_to_right
from humanparse.postprocess.instances import find_instances
from humanparse.postprocess.linking import drop_duplicates, link
from humanparse.postprocess.probability import softmax
from humanparse.postprocess.queries import QuerySettings, parse_queries
from humanparse.preprocess import Geometry, Preprocess

H, W, PARTS = 40, 60, len(CIHP)
HUMAN = PARTS
GEOMETRY = Geometry((H * 4, W * 4), (H * 4, W * 4), (H * 4, W * 4))


def outputs(
    *instances: tuple[int, float, tuple[int, int, int, int]], empty: int = 3
) -> dict[str, np.ndarray]:
    """instances: (class, its probability, block of cells top, bottom, left, right)."""
    logits = np.full((len(instances) + empty, PARTS + 2), -20.0, np.float32)
    masks = np.full((len(instances) + empty, H, W), -10.0, np.float32)
    logits[:, -1] = 0
    for query, (class_id, probability, (top, bottom, left, right)) in enumerate(instances):
        logits[query, class_id] = np.log(probability)
        logits[query, -1] = np.log(max(1 - probability, 1e-9))
        masks[query, top:bottom, left:right] = 10
    return {"pred_logits": logits[None], "pred_masks": masks[None]}


def parse(*instances, **settings):
    return parse_queries(outputs(*instances), GEOMETRY, QuerySettings(**settings), labels=CIHP)


LEFT, RIGHT = (5, 35, 10, 30), (5, 35, 30, 50)


def test_parts_go_to_the_person_who_covers_them():
    maps = parse(
        (HUMAN, 0.9, LEFT),
        (HUMAN, 0.8, RIGHT),
        (13, 0.9, (6, 12, 15, 25)),
        (13, 0.7, (6, 12, 35, 45)),
    )
    # less a little at the masks' soft borders
    assert maps.person_scores == pytest.approx([0.9, 0.8], abs=0.02)
    assert maps.label_map[34, 80] == 13 and maps.person_map[34, 80] == 1
    assert maps.label_map[34, 160] == 13 and maps.person_map[34, 160] == 2
    assert maps.part_scores == pytest.approx({(1, 13): 0.9, (2, 13): 0.7}, abs=0.02)


def test_a_part_that_crosses_the_border_stays_whole():
    """Most of the arm is the left person's; its pixels over the right person are the left person's
    too."""
    maps = parse((HUMAN, 0.9, LEFT), (HUMAN, 0.9, RIGHT), (14, 0.9, (15, 20, 20, 34)))
    assert (maps.person_map[64:76, 84:132] == maps.person_map[70, 90]).all()


def test_person_pixels_without_a_part_are_still_the_persons():
    maps = parse((HUMAN, 0.9, LEFT))
    assert maps.person_map[80, 80] == 1 and maps.label_map[80, 80] == 0


def test_a_part_of_nobody_keeps_its_label():
    maps = parse((9, 0.9, (5, 20, 40, 55)))
    assert maps.label_map[50, 190] == 9 and not maps.person_map.any()
    assert maps.part_scores == pytest.approx({(0, 9): 0.9}, abs=0.02)


def test_weak_instances_are_left_out():
    maps = parse((HUMAN, 0.05, LEFT), (9, 0.4, RIGHT))
    assert not maps.label_map.any() and maps.person_scores == []
    assert parse((9, 0.6, RIGHT), part_score=0.3).label_map[80, 160] == 9


def test_one_person_found_twice_is_one_person():
    assert len(parse((HUMAN, 0.9, LEFT), (HUMAN, 0.6, (5, 35, 10, 29))).person_scores) == 1


def test_the_stronger_class_wins_a_pixel_and_the_background_can():
    maps = parse((5, 0.7, LEFT), (7, 0.9, LEFT))
    assert maps.label_map[80, 80] == 7
    assert parse((5, 0.7, LEFT), (0, 0.95, (0, 40, 0, 60))).label_map[80, 80] == 0


def test_no_queries_at_all_is_an_empty_scene():
    maps = parse()
    assert not maps.label_map.any() and not maps.person_map.any()


def test_memory_does_not_grow_with_the_queries():
    """Hundred kept queries on a large photo: well under one float mask of the photo's size for
    each."""
    import tracemalloc

    many = [(5, 0.9, (5, 35, 10 + i % 30, 20 + i % 30)) for i in range(60)]
    many += [(HUMAN, 0.9, (5, 35, 10 + i % 40, 20 + i % 40)) for i in range(40)]
    photo = Geometry((2000, 3000), (H * 4, W * 4), (H * 4, W * 4))
    made = outputs(*many)
    tracemalloc.start()
    parse_queries(made, photo, QuerySettings(), labels=CIHP)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 2000 * 3000 * 4


# The same as everything at full size

RULE = Preprocess((0,) * 3, (1,) * 3, short_side=96, max_long_side=200)


def crowded(geometry: Geometry, seed: int) -> dict[str, np.ndarray]:
    """Rough blobs everywhere: people over people, parts over parts, several of a class, and
    background."""
    rng = np.random.default_rng(seed)
    shape = [side // 4 for side in geometry.input_hw]
    masks = np.stack(
        [
            cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), 3) * 60 - 3
            for _ in range(24)
        ]
    )
    logits = np.zeros((24, PARTS + 2), np.float32)
    logits[np.arange(24), [0, *[HUMAN] * 7, *rng.integers(1, 5, 12), *rng.integers(5, 20, 4)]] = (
        rng.uniform(3, 9, 24)
    )
    return {"pred_logits": logits[None], "pred_masks": masks[None]}


def everything_at_full_size(outputs, geometry, settings):
    """The label map, the person map and all people's and parts' scores, slowly."""
    height, width = geometry.photo_hw
    probability = softmax(outputs["pred_logits"][0].astype(float), 1)[:, :-1]
    full = np.stack(
        [sample_map(mask, 4, geometry, (0, 0, width, height)) for mask in outputs["pred_masks"][0]]
    ).astype(float)
    chance = 1 / (1 + np.exp(-full))
    scores = probability.max(1) * [
        one[mask > 0].mean() for one, mask in zip(chance, full, strict=True)
    ]
    classes, coarse = (
        probability.argmax(1),
        outputs["pred_masks"][0][:, : geometry.cells(4)[0], : geometry.cells(4)[1]] > 0,
    )
    order = np.argsort(-scores, kind="stable")
    people = np.array(
        [one for one in order if classes[one] == HUMAN and scores[one] > settings.person_score]
    )
    people = people[drop_duplicates(coarse[people], scores[people], settings.duplicate_iou)]
    found = find_instances(outputs, geometry, settings.person_score).masks
    masks = outputs["pred_masks"][0]
    people = people[
        left_to_right(
            next(mask.box for mask in found if np.array_equal(mask.logits, masks[one]))
            for one in people
        )
    ]
    parts = [one for one in order if classes[one] < HUMAN and scores[one] >= settings.part_score]
    owners = dict(zip(parts, link(coarse[parts], coarse[people], scores[people]) + 1, strict=True))
    strength = chance * scores[:, None, None]
    inside = np.where(full[people] > 0, strength[people], 0)
    who = np.where(inside.max(0) > 0, inside.argmax(0) + 1, 0)
    best, label, owner = np.full(full.shape[1:], 0.5), np.zeros(full.shape[1:], int), who.copy()
    for class_id in range(HUMAN):
        same = [one for one in parts if classes[one] == class_id]
        if not same:
            continue
        counting = np.where(strength[same] > 0.5, strength[same], 0)
        average = counting.sum(0) / np.maximum((counting > 0).sum(0), 1)
        wins = average > best
        best[wins], label[wins] = average[wins], class_id
        owner[wins] = (
            np.array([owners[one] for one in same])[counting.argmax(0)][wins]
            if class_id
            else who[wins]
        )
    return (
        label,
        owner,
        scores[people],
        {(int(owners[one]), int(classes[one])): scores[one] for one in reversed(parts)},
    )


@pytest.mark.parametrize(
    ("photo_hw", "seed"), [((96, 128), 0), ((150, 311), 1), ((401, 533), 2), ((1300, 90), 3)]
)
def test_maps_and_scores_are_those_of_everything_at_full_size(photo_hw, seed, monkeypatch):
    geometry = RULE.geometry(photo_hw)
    made, settings = (
        crowded(geometry, seed),
        QuerySettings(part_score=0.3, person_score=0.3, duplicate_iou=0.9),
    )
    label, person, people, parts = everything_at_full_size(made, geometry, settings)
    assert len(np.unique(label)) > 2 and len(np.unique(person)) > 1
    somebody = (label > 0) | (person > 0)
    # measures larger masks at every second, third … pixel
    maps = parse_queries(made, geometry, settings, labels=CIHP)
    assert maps.person_scores == pytest.approx(
        people, abs=1e-3
    ) and maps.part_scores == pytest.approx(parts, abs=1e-3)
    assert (maps.label_map == label)[somebody].mean() > 0.995 and (maps.person_map == person)[
        somebody
    ].mean() > 0.995
    monkeypatch.setattr(instances, "SCORED_PX", 1 << 40)  # at every pixel
    maps = parse_queries(made, geometry, settings, labels=CIHP)
    assert maps.person_scores == pytest.approx(
        people, abs=1e-5
    ) and maps.part_scores == pytest.approx(parts, abs=1e-5)
    assert (maps.label_map == label).mean() > 0.9999 and (maps.person_map == person).mean() > 0.9999


def test_neither_tiles_nor_what_is_kept_show(monkeypatch):
    geometry = RULE.geometry((701, 933))
    made = crowded(geometry, 4)
    whole = parse_queries(made, geometry, QuerySettings(), labels=CIHP)
    monkeypatch.setattr(preprocess, "TILE_PX", 100)
    monkeypatch.setattr(instances, "KEPT_PX", 0)
    bit_by_bit = parse_queries(made, geometry, QuerySettings(), labels=CIHP)
    assert (whole.label_map == bit_by_bit.label_map).mean() > 0.9999
    assert (whole.person_map == bit_by_bit.person_map).mean() > 0.9999


def test_a_certainty_that_is_measured_at_some_pixels_is_that_of_all(monkeypatch):
    geometry = RULE.geometry((1500, 2000))
    sparse = find_instances(crowded(geometry, 5), geometry, min_score=0.2)
    monkeypatch.setattr(instances, "SCORED_PX", 1 << 40)
    all_pixels = find_instances(crowded(geometry, 5), geometry, min_score=0.2)
    assert len(sparse.scores) == len(all_pixels.scores) > 10
    assert sparse.scores == pytest.approx(all_pixels.scores, abs=1e-3)


def test_people_and_classes_lie_in_the_boxes_that_are_given():
    geometry = RULE.geometry((150, 311))
    maps = parse_queries(crowded(geometry, 1), geometry, QuerySettings(), labels=CIHP)
    for plane, boxes in ((maps.label_map, maps.class_boxes), (maps.person_map, maps.person_boxes)):
        for value in set(np.unique(plane)) - {0}:
            x0, y0, x1, y1 = boxes[value]
            assert (plane[y0:y1, x0:x1] == value).sum() == (plane == value).sum()
