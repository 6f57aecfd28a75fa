"""Centres and offsets become people. Scenes are drawn by hand: blocks of 4-pixel cells."""

import numpy as np

from humanparse.labels import CIHP
from humanparse.postprocess.centres import CentreSettings, parse_centres, people_summaries
from humanparse.postprocess.outfit import PER_CLASS, OutfitReader
from humanparse.preprocess import Geometry

H, W = 40, 60  # cells
GEOMETRY = Geometry((H * 4, W * 4), (H * 4, W * 4), (H * 4, W * 4))


def blank() -> dict[str, np.ndarray]:
    classes = np.full((1, 20, H, W), -8, np.float32)
    classes[:, 0] = 8
    return {
        "classes": classes,
        "person": np.full((1, 1, H, W), -8, np.float32),
        "centre": np.full((1, 1, H, W), -8, np.float32),
        "offset": np.zeros((1, 2, H, W), np.float32),
    }


def draw_person(
    maps, top: int, bottom: int, left: int, right: int, label: int = 5, peak: float = 4.0
) -> None:
    """A block of cells of one class, all pointing to its middle, with a peak there (in cells)."""
    x, y = (left + right) // 2, (top + bottom) // 2
    block = np.s_[top:bottom, left:right]
    maps["classes"][0][:, *block] = -8
    maps["classes"][0][label][block] = 8
    maps["person"][0, 0][block] = 8
    ys, xs = np.mgrid[top:bottom, left:right]
    maps["offset"][0][:, *block] = (x - xs) * 4, (y - ys) * 4
    maps["centre"][0, 0, y, x] = peak


def people(maps, **settings) -> np.ndarray:
    return parse_centres(maps, GEOMETRY, CentreSettings(**settings)).person_map


def test_an_empty_scene_has_nobody():
    maps = parse_centres(blank(), GEOMETRY, CentreSettings())
    assert not maps.label_map.any() and not maps.person_map.any() and maps.person_scores == []


def test_touching_people_keep_their_own_pixels():
    scene = blank()
    draw_person(scene, 5, 35, 10, 25, label=5)
    draw_person(scene, 5, 35, 25, 40, label=7)
    maps = parse_centres(scene, GEOMETRY, CentreSettings())
    assert len(maps.person_scores) == 2
    left, right = maps.person_map[80, 60], maps.person_map[80, 140]
    assert left != right
    assert (maps.person_map[30:130, 45:95] == left).all() and (
        maps.person_map[30:130, 106:155] == right
    ).all()
    assert (maps.label_map[30:130, 45:95] == 5).all() and (
        maps.label_map[30:130, 106:155] == 7
    ).all()
    assert maps.part_scores[int(left), 5] > 0.99


def test_people_are_numbered_from_left_to_right_however_sure_they_are():
    scene = blank()
    draw_person(scene, 5, 35, 40, 55, peak=5)  # the surest
    draw_person(scene, 22, 36, 10, 25, peak=3)
    draw_person(scene, 4, 18, 10, 25, peak=4)  # above the one before
    maps = parse_centres(scene, GEOMETRY, CentreSettings())
    assert [maps.person_map[y, x] for y, x in ((40, 70), (115, 70), (80, 190))] == [1, 2, 3]
    above, below, right = maps.person_scores
    assert below < above < right


def test_two_peaks_in_one_person_are_one_person():
    scene = blank()
    draw_person(scene, 4, 36, 20, 40)
    scene["centre"][0, 0, 21, 34] = 3.0
    scene["offset"][0, 0, :, 33:40] += 16
    assert np.unique(people(scene, peak_radius_px=4, join=0.0)).tolist() == [0, 1, 2]
    assert np.unique(people(scene, peak_radius_px=4)).tolist() == [0, 1]


def test_a_person_without_a_peak_is_still_found():
    scene = blank()
    draw_person(scene, 5, 35, 2, 16)
    draw_person(scene, 5, 35, 42, 58, peak=-8)
    found = people(scene)
    assert found[80, 30] != found[80, 200] and found[80, 200] > 0


def test_who_points_elsewhere_is_somebody_else_even_without_a_peak():
    scene = blank()
    draw_person(scene, 5, 35, 12, 28)
    draw_person(scene, 5, 35, 28, 40, peak=-8)  # touches the other and is too faint
    found = people(scene)
    assert found[80, 80] != found[80, 136] and found[80, 136] > 0
    assert (found[30:130, 118:155] == found[80, 136]).all()


def test_a_limb_whose_cells_do_not_agree_where_they_point_is_nobody_else():
    scene = blank()
    draw_person(scene, 5, 35, 12, 28)
    draw_person(scene, 5, 35, 28, 40, peak=-8)
    rng = np.random.default_rng(0)
    scene["offset"][0, :, 5:35, 28:40] += rng.uniform(-60, 60, (2, 30, 12))
    assert np.unique(people(scene, stray=9.0)).tolist() == [0, 1]


def test_a_limb_that_points_far_away_from_itself_is_nobody_else():
    scene = blank()
    draw_person(scene, 5, 35, 12, 28)
    draw_person(scene, 5, 35, 28, 40, peak=-8)
    ys, xs = np.mgrid[5:35, 28:40]
    scene["offset"][0, :, 5:35, 28:40] = (52 - xs) * 4, (4 - ys) * 4
    assert np.unique(people(scene, stray=9.0)).tolist() == [0, 1]


def test_specks_are_nobody():
    scene = blank()
    draw_person(scene, 5, 35, 10, 25)
    draw_person(scene, 20, 22, 50, 52)
    assert np.unique(people(scene, min_area=0.01)).tolist() == [0, 1]
    assert not people(scene, min_area=0.01)[80:88, 200:208].any()


def test_a_crumb_beside_a_person_is_nobodys_and_a_limb_behind_something_stays_theirs():
    scene = blank()
    draw_person(scene, 5, 35, 10, 25)
    crumb, limb = np.s_[20:22, 34:37], np.s_[5:35, 28:30]
    for cells in (crumb, limb):
        scene["person"][0, 0][cells] = 8
        scene["classes"][0, 0][cells], scene["classes"][0, 5][cells] = -8, 8
        ys, xs = np.mgrid[cells]
        scene["offset"][0][:, *cells] = (17 - xs) * 4, (20 - ys) * 4
    found = people(scene)
    assert found[80, 115] == 1 and not found[80:88, 136:148].any()


def test_every_labelled_pixel_has_a_person_and_the_other_way_round():
    scene = blank()
    draw_person(scene, 5, 35, 10, 25, label=2)
    draw_person(scene, 10, 30, 30, 55, label=9)
    maps = parse_centres(scene, GEOMETRY, CentreSettings())
    assert ((maps.label_map > 0) == (maps.person_map > 0)).all()


def test_photos_larger_than_the_input_are_filled_at_their_own_size():
    scene = blank()
    draw_person(scene, 5, 35, 10, 25)
    maps = parse_centres(
        scene, Geometry((400, 600), (H * 4, W * 4), (H * 4, W * 4)), CentreSettings()
    )
    assert maps.person_map.shape == (400, 600)
    assert abs((maps.person_map > 0).mean() - 30 * 15 / (H * W)) < 0.01


def test_what_the_whole_person_wears_decides_where_a_cell_is_unsure():
    scene = blank()
    draw_person(scene, 5, 35, 10, 25, label=5)
    draw_person(scene, 5, 35, 35, 50, label=5)
    scene["classes"][0, 7, 5:35, 10:50] = 7.5  # nearly as likely as 5, for both
    scene["wears"] = np.zeros((1, 20, H, W), np.float32)
    # half of one person speaks for it: 2 on average
    scene["wears"][0, 7, 5:20, 10:25] = 4
    maps = parse_centres(scene, GEOMETRY, CentreSettings(), CIHP)
    assert maps.label_map[80, 70] == maps.label_map[130, 70] == 7 and maps.label_map[80, 170] == 5
    assert maps.part_scores[int(maps.person_map[80, 70]), 7] > 0.75
    plain = parse_centres(scene, GEOMETRY, CentreSettings(wears=0.0), CIHP)
    assert plain.label_map[80, 70] == 5 and (plain.person_map == maps.person_map).all()


def test_the_outfit_reader_decides_person_by_person():
    scene = blank()
    draw_person(scene, 5, 35, 10, 25, label=5)
    draw_person(scene, 5, 35, 35, 50, label=5)
    scene["classes"][0, 7, 5:35, 10:50] = 7.5
    scene["wears"] = np.zeros((1, 20, H, W), np.float32)
    scene["wears"][0, 7, 5:35, 10:25] = 1.0
    size = PER_CLASS * 20
    first, second = np.zeros((size, 1), np.float32), np.zeros((1, 20), np.float32)
    first[6 * 20 + 7], second[0, 7] = 2.0, 1.0  # coats, from the last sum, wears
    biases = np.zeros(1, np.float32), np.where(np.arange(20) == 7, -1, 0).astype(np.float32)
    reader = OutfitReader(
        np.zeros(size, np.float32),
        np.ones(size, np.float32),
        (first, biases[0]),
        (second, biases[1]),
    )
    settings = CentreSettings(outfit_reader=reader.to_text(), worn=1.0)
    maps = parse_centres(scene, GEOMETRY, settings, CIHP)
    assert maps.label_map[80, 70] == 7 and maps.label_map[80, 170] == 5
    assert people_summaries(scene, GEOMETRY, settings)[1].shape == (2, size)
