"""M2FP's queries become linked people. Made-up instances: each query is a block with one class."""

import numpy as np
import pytest

from humanparse.postprocess.queries import QuerySettings, parse_queries
from humanparse.preprocess import Geometry

H, W, PARTS = 40, 60, 20
HUMAN = PARTS
GEOMETRY = Geometry((H * 4, W * 4), (H * 4, W * 4), (H * 4, W * 4))


def outputs(*instances: tuple[int, float, tuple[int, int, int, int]], empty: int = 3) -> dict[str, np.ndarray]:
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
    return parse_queries(outputs(*instances), GEOMETRY, QuerySettings(**settings), num_parts=PARTS)


LEFT, RIGHT = (5, 35, 10, 30), (5, 35, 30, 50)


def test_parts_go_to_the_person_who_covers_them():
    maps = parse((HUMAN, 0.9, LEFT), (HUMAN, 0.8, RIGHT), (13, 0.9, (6, 12, 15, 25)), (13, 0.7, (6, 12, 35, 45)))
    assert maps.person_scores == pytest.approx([0.9, 0.8], abs=0.02)  # less a little at the masks' soft borders
    assert maps.label_map[34, 80] == 13 and maps.person_map[34, 80] == 1
    assert maps.label_map[34, 160] == 13 and maps.person_map[34, 160] == 2
    assert maps.part_scores == pytest.approx({(1, 13): 0.9, (2, 13): 0.7}, abs=0.02)


def test_a_part_that_crosses_the_border_stays_whole():
    """Most of the arm is the left person's; its pixels over the right person are the left person's too."""
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
    """Hundred kept queries on a large photo: well under one float mask of the photo's size for each."""
    import tracemalloc

    many = [(5, 0.9, (5, 35, 10 + i % 30, 20 + i % 30)) for i in range(60)]
    many += [(HUMAN, 0.9, (5, 35, 10 + i % 40, 20 + i % 40)) for i in range(40)]
    photo = Geometry((2000, 3000), (H * 4, W * 4), (H * 4, W * 4))
    made = outputs(*many)
    tracemalloc.start()
    parse_queries(made, photo, QuerySettings(), num_parts=PARTS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 2000 * 3000 * 4
