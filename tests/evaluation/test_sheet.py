"""The contact sheet: three pictures of the same size in a row, and a legend of their classes."""

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing

from humanparse.evaluation.ground_truth import GroundTruth
from humanparse.evaluation.sheet import MARGIN_PX, TITLE_PX, UNKNOWN, Case, draw_sheet
from humanparse.labels import CIHP


def case(parsing, truth=None) -> Case:
    return Case(
        parsing.name,
        0.5,
        parsing.image,
        truth or GroundTruth(parsing.label_map, parsing.person_map),
        parsing,
    )


def test_a_row_shows_photo_ground_truth_and_prediction_side_by_side():
    parsing = made_up_parsing()
    sheet = np.asarray(draw_sheet([case(parsing)]))
    top, tile = MARGIN_PX // 2 + TITLE_PX, (340, 453)  # 120×160, as large as fits
    photo, truth, result = (
        sheet[top : top + tile[0], x : x + tile[1]]
        for x in (28, 28 + 453 + 12, 28 + 2 * (453 + 12))
    )
    assert (truth == result).all() and (photo != truth).any()
    coat = np.array(CIHP.palette()[CIHP.index("UpperClothes")])
    middle = truth[round(60 / 120 * 340), round(60 / 160 * 453)]  # person 1's clothes
    assert np.abs(middle - 0.8 * coat).max() < 40
    assert photo[20, 20] == pytest.approx(parsing.image[7, 7], abs=8)


def test_every_case_is_a_row_and_the_legend_has_room():
    one, three = (draw_sheet([case(made_up_parsing())] * count) for count in (1, 3))
    assert three.width == one.width and three.height - one.height == 2 * (TITLE_PX + 340 + 12)


def test_without_photos_nothing_of_them_is_seen_and_cases_can_stand_side_by_side():
    parsing = made_up_parsing()
    bright = Case(
        "bright",
        0.5,
        np.full_like(parsing.image, 255),
        GroundTruth(parsing.label_map, parsing.person_map),
        parsing,
    )
    one, other = (np.asarray(draw_sheet([each], photos=False)) for each in (case(parsing), bright))
    assert (one[MARGIN_PX // 2 + TITLE_PX :] == other[MARGIN_PX // 2 + TITLE_PX :]).all()
    block = 2 * 453 + 12
    two, three = (draw_sheet([bright] * count, photos=False, across=2) for count in (2, 3))
    assert (
        one.shape[1] == 2 * MARGIN_PX + block
        and two.width == three.width == 3 * MARGIN_PX + 2 * block
    )
    assert three.height - two.height == TITLE_PX + 340 + 12


def test_unknown_pixels_are_striped():
    parsing = made_up_parsing()
    unknown = GroundTruth(np.full_like(parsing.label_map, 255), None)
    plain, striped = (
        np.asarray(draw_sheet([one])).astype(int) for one in (case(parsing), case(parsing, unknown))
    )
    column = striped[MARGIN_PX // 2 + TITLE_PX : -120, 28 + 453 + 12 : 28 + 2 * 453]
    assert column.max() > 0.7 * UNKNOWN[0][0] and column.min() < UNKNOWN[1][0] + 60
    assert striped.shape[1] == plain.shape[1]


def test_photos_of_any_shape_and_without_anybody_can_be_shown():
    tall, wide = (empty_parsing((h, w)) for h, w in ((400, 20), (3, 900)))
    sheet = draw_sheet([case(tall), case(wide), case(made_up_parsing())])
    assert sheet.width == 2 * MARGIN_PX + 3 * 480 + 24


def test_nothing_to_show_is_an_error():
    with pytest.raises(ValueError, match="no cases"):
        draw_sheet([])
