"""Losses: nearly zero for the right output, larger for a wrong one, zero for the unknown."""

import pytest

torch = pytest.importorskip("torch")

from humanparse.training import losses as L  # noqa: E402


def one_hot_logits(classes, strength=12.0):
    return torch.nn.functional.one_hot(classes.long(), 20).permute(0, 3, 1, 2).float() * strength


CLASSES = torch.randint(0, 20, (2, 8, 8), generator=torch.Generator().manual_seed(0)).to(
    torch.uint8
)


@pytest.mark.parametrize("loss", [L.class_loss, L.class_dice])
def test_the_right_classes_cost_next_to_nothing_and_wrong_ones_a_lot(loss):
    right = loss(one_hot_logits(CLASSES), CLASSES)
    wrong = loss(one_hot_logits((CLASSES + 1) % 20), CLASSES)
    assert right < 0.02 and wrong > 0.5


@pytest.mark.parametrize("loss", [L.class_loss, L.class_dice])
def test_ignored_pixels_cost_nothing_whatever_is_said_of_them(loss):
    truth = CLASSES.clone()
    truth[:, :4] = 255
    one, other = one_hot_logits(CLASSES), one_hot_logits(CLASSES)
    other[:, :, :4] = torch.randn(2, 20, 4, 8)
    assert loss(one, truth) == pytest.approx(loss(other, truth).item(), abs=1e-5)


def test_class_dice_is_what_its_formula_says():
    truth = CLASSES.clamp(max=18)
    truth[0, :2] = 255
    logits = torch.randn(2, 20, 8, 8, generator=torch.Generator().manual_seed(1))
    likely, known = logits.softmax(1), truth != 255
    costs = []
    for number in range(20):
        # number 19 is nowhere
        said, true = likely[:, number][known], (truth[known] == number).float()
        present = 1 - (2 * (said * true).sum() + 1) / (said.sum() + true.sum() + 1)
        absent = L.ABSENT_COST * said.sum() / (said.sum() + L.ABSENT_SHARE * truth.numel())
        costs.append(present if true.any() else absent)
    assert L.class_dice(logits, truth).item() == pytest.approx(
        torch.stack(costs).mean().item(), abs=1e-6
    )


def test_a_class_that_is_nowhere_costs_the_more_the_more_of_it_is_found():
    truth, costs = CLASSES.clamp(max=18), []
    for found in (0, 1, 8):
        said = truth.clone()
        said[0, 0, :found] = 19
        costs.append(L.class_dice(one_hot_logits(said), truth).item())
    assert costs[0] < costs[1] < costs[2]


@pytest.mark.parametrize("loss", [L.class_loss, L.class_dice])
def test_a_batch_of_which_nothing_is_known_costs_nothing_and_can_be_learned_from(loss):
    logits = torch.randn(1, 20, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8))
    value.backward()
    assert value.item() == 0 and torch.isfinite(logits.grad).all()


def test_a_centre_at_the_right_place_costs_less_than_one_beside_it():
    truth = torch.zeros(1, 9, 9)
    truth[0, 4, 4] = 1
    right, beside = torch.full((1, 9, 9), -6.0), torch.full((1, 9, 9), -6.0)
    right[0, 4, 4], beside[0, 4, 7] = 6, 6
    assert L.centre_loss(right, truth) < 0.01 < 1 < L.centre_loss(beside, truth)
    unknown = truth.clone()
    unknown[0, 4, 7] = -1
    assert L.centre_loss(beside, unknown) < L.centre_loss(beside, truth)


def test_offsets_are_measured_against_the_persons_size():
    truth, weight = torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4)
    weight[0, 1, 1] = 1 / 200
    off = torch.full((1, 2, 4, 4), 10.0)
    assert L.offset_loss(off, truth, weight).item() == pytest.approx(0.1)
    assert L.offset_loss(off, truth, weight * 0).item() == 0


def test_agreeing_with_the_teacher_costs_nothing_and_distrusted_pictures_do_not_count():
    maps = {"segments": torch.randn(2, 1, 4, 4), "part_heatmaps": torch.randn(2, 24, 4, 4)}
    other = {name: value + 2 for name, value in maps.items()}
    assert L.teacher_loss(maps, maps, torch.ones(2)).item() == pytest.approx(0, abs=1e-6)
    assert L.teacher_loss(other, maps, torch.ones(2)) > 0.1
    assert L.teacher_loss(other, maps, torch.zeros(2)).item() == 0


def test_any_of_the_listed_classes_costs_nothing_and_all_others_cost():
    classes, sets = torch.full((1, 2, 2), 255), torch.full((1, 2, 2), 0b101000)  # classes 3 and 5
    for number, expected in ((3, 0.0), (5, 0.0), (4, 12.0)):
        said = one_hot_logits(torch.full((1, 2, 2), number))
        assert L.set_loss(said, sets, classes).item() == pytest.approx(expected, abs=0.7)
    known = classes.clone()
    known[0, 0] = 4
    assert L.set_loss(
        one_hot_logits(torch.full((1, 2, 2), 4)), sets, known
    ).item() == pytest.approx(6, abs=0.5)
    assert L.set_loss(said, torch.zeros_like(sets), classes).item() == 0


def test_a_persons_mean_is_over_their_own_pixels_and_nobodys_is_zero():
    maps = torch.arange(8.0).view(1, 1, 2, 4).repeat(2, 1, 1, 1)
    owner = torch.zeros(2, 2, 4, dtype=torch.long)
    owner[0, 0, :2], owner[1, 1, 2:] = 1, 2
    means = L.person_means(maps, owner, most=2)
    assert means.shape == (2, 3, 1)
    assert means[..., 0].tolist() == [[0, 0.5, 0], [0, 0, 6.5]]
    raised = L.steer(torch.zeros(2, 1, 2, 4), means, owner)
    assert raised[0, 0, 0].tolist() == [0.5, 0.5, 0, 0] and raised[1, 0, 1].tolist() == [
        0,
        0,
        6.5,
        6.5,
    ]


def test_what_is_unknown_about_an_outfit_costs_nothing():
    pooled = torch.tensor([[[8.0, -8.0, 3.0]]])
    worn = torch.tensor([[[1.0, 0.0, -1.0]]])
    assert L.worn_loss(pooled, worn).item() < 0.001
    assert L.worn_loss(-pooled, worn).item() > 5
    assert L.worn_loss(pooled, torch.full_like(worn, -1)).item() == 0


def test_agreeing_with_the_mirrored_scene_costs_nothing_and_only_people_count():
    known, person = torch.randn(1, 4, 2, 3), torch.tensor([[[1.0, 0, 0], [1, 0, 0]]])
    other = known.clone()
    other[..., 1:] = torch.randn(1, 4, 2, 2)  # where nobody is
    assert L.mirror_loss(other, known, person).item() == pytest.approx(0, abs=1e-6)
    assert L.mirror_loss(-known, known, person) > 0.1
    assert L.mirror_loss(-known, known, torch.zeros(1, 2, 3)).item() == 0
