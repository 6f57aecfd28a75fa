"""The flip rate counts what it says."""

import numpy as np
from made_up import made_up_parsing, parsing_from_maps

from humanparse.labels import CIHP
from humanparse.video.flicker import flips

STILL = np.stack(np.meshgrid(np.arange(160), np.arange(120)), 2).astype(np.float32)
ONE, BOTH = made_up_parsing(), ([1, 2], [1, 2])


def test_what_stays_does_not_flip():
    counted = flips(ONE, ONE, BOTH, STILL)
    assert counted.pixels == sum(person.area for person in ONE.people)
    assert counted.changed == counted.within == 0 == counted.rate


def test_what_moves_along_with_the_motion_does_not_flip():
    moved = [np.roll(one, 7, 1) for one in (ONE.label_map, ONE.person_map)]
    assert flips(ONE, parsing_from_maps(*moved), BOTH, STILL - (7, 0)).changed == 0
    assert flips(ONE, parsing_from_maps(*moved), BOTH, STILL).rate > 0.2


def test_another_class_flips_and_so_does_what_was_nobodys():
    changed, people = ONE.label_map.copy(), ONE.person_map.copy()
    upper = changed == CIHP.index("UpperClothes")
    changed[upper] = CIHP.index("Coat")
    changed[0:5, 0:10], people[0:5, 0:10] = CIHP.index("Hair"), 1
    counted = flips(ONE, parsing_from_maps(changed, people), BOTH, STILL)
    assert counted.within == np.count_nonzero(upper)
    assert counted.changed == counted.within + 50


def test_what_was_somebody_elses_or_could_not_be_seen_does_not_count():
    assert flips(ONE, ONE, ([1, 2], [1, 3]), STILL).pixels == ONE.people[0].area
    hidden = STILL.copy()
    hidden[ONE.person_map == 1] = np.nan
    assert flips(ONE, ONE, BOTH, hidden).pixels == ONE.people[1].area


def test_a_border_that_moves_by_a_pixel_is_tolerated_where_that_is_wanted():
    moved = parsing_from_maps(*(np.roll(one, 1, 0) for one in (ONE.label_map, ONE.person_map)))
    assert flips(ONE, moved, BOTH, STILL).changed > 0
    assert flips(ONE, moved, BOTH, STILL, tolerance_px=1).changed == 0
