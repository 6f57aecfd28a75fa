"""The list decides which classes there are, and the network decides where."""

import numpy as np
import pytest

pytest.importorskip("torch")

from humanparse.labels import CIHP
from humanparse.training import guess as G
from humanparse.training.wears import LISTED, Wears, either

HAT, UPPER, DRESS, COAT, PANTS, FACE = map(
    CIHP.index, ("Hat", "UpperClothes", "Dress", "Coat", "Pants", "Face")
)
LEFT, RIGHT = CIHP.index("Left-leg"), CIHP.index("Right-leg")
EITHER_LEG = next(code for code, pair in either(CIHP).items() if pair == (LEFT, RIGHT))
BODY = np.ones((20, 20), bool)


def said(**places) -> np.ndarray:
    """Logits of a person of 20 × 20 pixels, with each class, by name, in a window."""
    logits = np.zeros((20, 20, 20), np.float32)
    for name, (window, strength) in places.items():
        logits[CIHP.index(name.replace("_", "-"))][window] = strength
    return logits.reshape(20, -1)


def wears(*classes: int, **more) -> Wears:
    return Wears(frozenset(classes), **more)


TOP, BOTTOM = np.s_[:10], np.s_[10:]


def test_a_class_that_is_not_listed_gives_way_to_the_likeliest_listed_one():
    logits = said(Coat=(TOP, 6), UpperClothes=(TOP, 4), Pants=(BOTTOM, 6))
    codes = G.constrained(logits, BODY, wears(UPPER, PANTS), CIHP).reshape(20, 20)
    assert (codes[:10] == UPPER).all() and (codes[10:] == PANTS).all()


def test_what_is_listed_is_somewhere_even_if_the_network_did_not_find_it():
    logits = said(UpperClothes=(np.s_[:], 5), Hat=(np.s_[0], 3))
    codes = G.constrained(logits, BODY, wears(UPPER, HAT), CIHP).reshape(20, 20)
    assert 0 < (codes == HAT).sum() < 20 and (np.nonzero(codes == HAT)[0] == 0).all()


def test_what_is_too_unlikely_is_nowhere():
    logits = said(UpperClothes=(np.s_[:], 20))
    assert (G.constrained(logits, BODY, wears(UPPER, HAT), CIHP) == UPPER).all()


def test_the_main_garment_is_the_largest():
    logits = said(Dress=(np.s_[:16], 6), Coat=(np.s_[:16], 4), Face=(np.s_[16:], 6))
    logits.reshape(20, 20, 20)[COAT][:9] += 1
    codes = G.constrained(logits, BODY, wears(COAT, DRESS, FACE, main=COAT), CIHP)
    assert (codes == COAT).sum() > (codes == DRESS).sum()


def test_where_nothing_is_sure_only_the_list_counts():
    codes = G.constrained(said(), BODY, Wears(frozenset(), frozenset({UPPER, COAT, DRESS})), CIHP)
    assert (codes == LISTED).all()
    background = said(Background=(np.s_[:5], 9), UpperClothes=(np.s_[:], 5))
    codes = G.constrained(background, BODY, wears(UPPER), CIHP).reshape(20, 20)
    assert (codes[:5] == LISTED).all() and (codes[5:] == UPPER).all()


def legs(left_at: str | None, strength: float) -> np.ndarray:
    """The classes of two separate legs.

    The network calls the one on the left of the picture Left, with this strength.
    """
    one, other = np.s_[8:, 2:6], np.s_[8:, 14:18]
    logits = said(UpperClothes=(np.s_[:8], 6), Left_leg=(one, 6), Right_leg=(other, 6)).reshape(
        20, 20, 20
    )
    logits[RIGHT][one], logits[LEFT][other] = 6 - strength, 6 - strength
    body = BODY.copy()
    body[8:, :2] = body[8:, 6:14] = body[8:, 18:] = False
    codes = np.zeros((20, 20), np.uint8)
    codes[body] = G.constrained(
        logits[:, body], body, wears(UPPER, LEFT, RIGHT, left_at=left_at), CIHP
    )
    return codes[10, [4, 16]]


def test_the_list_says_where_left_is_if_the_network_is_not_sure():
    assert legs("left", 0.2).tolist() == [LEFT, RIGHT]
    assert legs("right", 0.2).tolist() == [RIGHT, LEFT]
    assert legs(None, 3).tolist() == [LEFT, RIGHT]


def test_an_unknown_side_stays_open():
    assert legs(None, 0.2).tolist() == [EITHER_LEG, EITHER_LEG]
