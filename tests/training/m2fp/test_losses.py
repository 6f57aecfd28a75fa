"""Points, matching and losses on cases that can be checked by eye."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stick_people import stick_scene  # noqa: E402

from humanparse.training.m2fp import losses as L  # noqa: E402
from humanparse.training.m2fp.matching import match  # noqa: E402
from humanparse.training.m2fp.points import (  # noqa: E402
    random_points,
    read_logits,
    read_numbers,
    uncertain_points,
)
from humanparse.training.m2fp.segments import segments  # noqa: E402


def generator(seed: int = 0):
    return torch.Generator().manual_seed(seed)


def test_points_read_the_cell_they_lie_in_and_logits_between_cells():
    numbers = torch.arange(12).reshape(1, 3, 4)
    points = torch.tensor([[[0.0, 0.0], [0.99, 0.0], [0.1, 0.99], [1.0, 1.0]]])  # x, y
    assert read_numbers(numbers, points).tolist() == [[0, 3, 8, 11]]
    ramp = torch.arange(4.0).expand(1, 3, 4)
    assert read_logits(ramp, torch.tensor([[[0.375, 0.5], [0.5, 0.5]]])).tolist() == [[1.0, 1.5]]


def test_three_quarters_of_the_points_lie_where_the_network_is_unsure():
    logits = torch.full((2, 32, 32), 8.0)
    logits[:, :, :4] = 0.0
    points = uncertain_points(logits, 400, generator())
    assert points.shape == (2, 400, 2)
    unsure = (points[..., 0] < 5 / 32).float().mean(1)  # an eighth of the picture
    assert (unsure > 0.3).all() and (unsure > 2 * (5 / 32)).all()
    again = uncertain_points(logits, 400, generator())
    assert torch.equal(points, again)


def test_matching_takes_the_cheapest_of_all_assignments():
    torch.manual_seed(0)
    class_logits, mask_logits = torch.randn(4, 6), torch.randn(4, 50) * 3
    classes = torch.tensor([2, 0, 2])
    truth, known = torch.rand(3, 50) > 0.5, torch.rand(3, 50) > 0.2
    queries, targets = match(class_logits, mask_logits, classes, truth, known)

    def cost(query: int, target: int) -> float:
        logit, wanted, here = mask_logits[query], truth[target].float(), known[target].float()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            logit, wanted, reduction="none"
        )
        share = logit.sigmoid() * here
        dice = 1 - (2 * (share * wanted).sum() + 1) / (share.sum() + (wanted * here).sum() + 1)
        return float(
            -2 * class_logits[query].softmax(0)[classes[target]]
            + 5 * (entropy * here).sum() / here.sum()
            + 5 * dice
        )

    def total(chosen: tuple[int, ...]) -> float:
        return sum(cost(query, target) for target, query in enumerate(chosen))

    best = min(itertools.permutations(range(4), 3), key=total)
    assert dict(zip(targets.tolist(), queries.tolist(), strict=True)) == dict(enumerate(best))


def test_a_network_that_has_diverged_is_matched_all_the_same():
    queries, targets = match(
        torch.full((3, 4), float("nan")),
        torch.full((3, 5), float("inf")),
        torch.tensor([0, 1]),
        torch.ones(2, 5, dtype=torch.bool),
        torch.ones(2, 5, dtype=torch.bool),
    )
    assert len(queries) == len(targets) == 2


def answers(scene, spoil: bool = False):
    """Outputs that give exactly the scene's segments.

    `spoil` exchanges the classes of the first two.
    """
    wanted = segments(scene, num_parts=5)
    count = int((wanted["classes"] >= 0).sum())
    logits, masks = torch.full((1, count + 3, 7), -9.0), torch.full((1, count + 3, 96, 96), -9.0)
    logits[0, :, 6] = 9.0
    for query in range(count):
        label, whole = wanted["classes"][query], wanted["whole"][query]
        if spoil and query < 2:
            label = wanted["classes"][1 - query]
        logits[0, query, 6], logits[0, query, label] = -9.0, 9.0
        masks[0, query][
            torch.from_numpy((wanted["person_map"] if whole else wanted["part_map"]) == query)
        ] = 9.0
    targets = {name: torch.from_numpy(np.asarray(value)[None]) for name, value in wanted.items()}
    return {"pred_logits": logits, "pred_masks": masks}, targets


def test_the_right_answer_costs_next_to_nothing_and_a_wrong_class_does():
    outputs, targets = answers(stick_scene(0))
    right = L.losses(outputs, targets, generator(), points=2000)
    assert right["class"] < 1e-3 and right["mask"] < 0.2 and right["dice"] < 0.3
    wrong = L.losses(answers(stick_scene(0), spoil=True)[0], targets, generator(), points=2000)
    assert sum(wrong.values()) > sum(right.values()) + 2


def test_the_outputs_of_every_layer_have_losses():
    outputs, targets = answers(stick_scene(0))
    once = L.losses(outputs, targets, generator(), points=500)
    thrice = L.losses(outputs | {"earlier": [outputs, outputs]}, targets, generator(), points=500)
    assert float(thrice["class"]) == pytest.approx(3 * float(once["class"]), rel=1e-3)


def test_a_scene_of_which_nothing_is_known_teaches_nothing():
    scene = stick_scene(0)
    scene.classes[:], scene.people[:] = 255, -1
    _, targets = answers(scene)
    shapes = {"pred_logits": (1, 8, 7), "pred_masks": (1, 8, 24, 24)}
    outputs = {name: torch.randn(shape, requires_grad=True) for name, shape in shapes.items()}
    total = sum(L.losses(outputs, targets, generator(), points=100).values())
    total.backward()
    assert total.item() == 0 and torch.isfinite(outputs["pred_logits"].grad).all()


def test_unknown_points_do_not_count_in_the_masks():
    logits, truth, known = (
        torch.tensor([[9.0, 9.0]]),
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[1.0, 0.0]]),
    )
    assert L.mask_loss(logits, truth, known) < 1e-3 and L.dice_loss(logits, truth, known) < 1e-3
    assert L.mask_loss(logits, truth, torch.ones(1, 2)) > 4


def test_random_points_are_the_same_on_every_device():
    points = random_points((1, 5), generator(3), torch.device("cpu"))
    assert torch.equal(points, torch.rand(1, 5, 2, generator=generator(3)))
