"""M2FP's losses: every query's class, and the matched queries' masks at points, after every layer.

Mask2Former (Cheng et al., arXiv 2112.01527), section 3: weights 2 (class), 5 (mask) and 5 (Dice),
"no object" counts a tenth; the same sum for the outputs before each layer of the decoder (deep
supervision), each matched by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from humanparse.training.m2fp.matching import match
from humanparse.training.m2fp.points import (
    random_points,
    read_logits,
    read_numbers,
    uncertain_points,
)
from humanparse.training.m2fp.segments import UNKNOWN

WEIGHTS = {"class": 2.0, "mask": 5.0, "dice": 5.0}
NO_OBJECT = 0.1
POINTS = 12544


def losses(
    outputs: Mapping,
    targets: Mapping[str, Tensor],
    generator: torch.Generator,
    points: int = POINTS,
) -> dict[str, Tensor]:
    """Return each loss by name, weighted and summed over the decoder's layers.

    Their sum is minimised. A scene of which nothing is known teaches nothing.

    Args:
        outputs: The outputs of M2FP in training mode.
        targets: The targets of segments.py with a leading batch axis.
        generator: Draws the points, on the CPU.
        points: The number of points at which masks are compared.
    """
    total: dict[str, Tensor] = {}
    for of_layer in (*outputs.get("earlier", ()), outputs):
        for name, value in _one_layer(of_layer, targets, generator, points).items():
            total[name] = total.get(name, 0) + WEIGHTS[name] * value
    return total


def _one_layer(
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    generator: torch.Generator,
    points: int,
) -> dict[str, Tensor]:
    class_logits, mask_logits = outputs["pred_logits"].float(), outputs["pred_masks"].float()
    no_object = class_logits.shape[2] - 1
    wanted = torch.full(class_logits.shape[:2], no_object, device=class_logits.device)  # (B, Q)
    chosen_logits, chosen_maps, chosen_numbers = [], [], []
    for image in range(len(class_logits)):
        classes = targets["classes"][image]
        classes = classes[classes >= 0]  # (T,)
        if not len(classes):
            continue
        # (2, H, W)
        maps = torch.stack([targets["part_map"][image], targets["person_map"][image]]).long()
        # Which map holds each segment, (T,).
        which = targets["whole"][image][: len(classes)].long()
        places = random_points((1, points), generator, maps.device)
        at_points = read_numbers(maps, places.expand(2, -1, -1))[which]  # (T, P)
        truth = at_points == torch.arange(len(classes), device=maps.device)[:, None]
        logits = read_logits(mask_logits[image], places.expand(mask_logits.shape[1], -1, -1))
        queries, segments = (
            one.to(maps.device)
            for one in match(
                class_logits[image],
                logits,
                classes,
                truth,
                at_points != UNKNOWN,
            )
        )
        wanted[image, queries] = classes[segments]
        chosen_logits.append(mask_logits[image, queries])  # (M, h, w)
        chosen_maps.append(maps[which[segments]])  # (M, H, W)
        chosen_numbers.append(segments)
    found = {"class": _class_loss(class_logits, wanted, targets)}
    if not chosen_logits:
        return found | {"mask": mask_logits.sum() * 0, "dice": mask_logits.sum() * 0}
    logits, maps, numbers = (torch.cat(one) for one in (chosen_logits, chosen_maps, chosen_numbers))
    places = uncertain_points(logits, points, generator)
    at_points = read_numbers(maps, places)  # (M, P)
    truth, known = (at_points == numbers[:, None]).float(), (at_points != UNKNOWN).float()
    logits = read_logits(logits, places)
    return found | {
        "mask": mask_loss(logits, truth, known),
        "dice": dice_loss(logits, truth, known),
    }


def mask_loss(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Return the cross-entropy at known points, averaged over masks. All are (M, P)."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth, weight=known, reduction="none")
    return (entropy.sum(1) / known.sum(1).clamp(min=1)).mean()


def dice_loss(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Return 1 - soft Dice of each mask at known points, averaged over masks. All are (M, P)."""
    probability, truth = logits.sigmoid() * known, truth * known
    return (
        1 - (2 * (probability * truth).sum(1) + 1) / (probability.sum(1) + truth.sum(1) + 1)
    ).mean()


def _class_loss(logits: Tensor, wanted: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy of every query's class; scenes of which nothing is known are left out."""
    # (B,)
    asked = ((targets["part_map"] != UNKNOWN) | (targets["person_map"] >= 0)).flatten(1).any(1)
    if not asked.any():
        return logits.sum() * 0
    weight = logits.new_ones(logits.shape[2])
    weight[-1] = NO_OBJECT
    return F.cross_entropy(logits[asked].flatten(0, 1), wanted[asked].flatten(), weight)
