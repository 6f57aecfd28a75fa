"""Losses of the four maps, and of keeping what the teacher knew. All take logits and return a scalar."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = 255
WEIGHTS = {"classes": 1.0, "class_dice": 1.0, "person": 1.0, "person_dice": 0.5, "centre": 0.5, "offset": 6.0, "teacher": 1.0}
# Pixels of rare classes count a little more; with two to six times as much they won too often (docs/lab-book.md).
CLASS_WEIGHTS = (0.7, 1.1, 0.8, 1.2, 1.2, 0.9, 1.1, 1.0, 1.2, 0.95, 0.9, 1.0, 1.2, 0.9, 0.9, 0.9, 0.8, 0.8, 1.0, 1.0)
ABSENT_COST, ABSENT_SHARE = 0.5, 0.002  # of a class that a batch does not have: see class_dice


def losses(
    outputs: dict[str, Tensor], targets: dict[str, Tensor], teacher: dict[str, Tensor], student: dict[str, Tensor],
    class_weights: tuple[float, ...] = CLASS_WEIGHTS,
) -> dict[str, Tensor]:
    """Each loss by name, already weighted; their sum is what is minimised.

    outputs: of CentreParser; targets: of targets.py with a leading batch axis, and `teacher_trust` (B,);
    teacher, student: logit maps by head name, of BodyPix and of the model's own copies of its heads; empty without a
    teacher. class_weights: how much a pixel of each class counts.
    """
    outputs = {name: value.float() for name, value in outputs.items()}
    person = outputs["person"][:, 0]
    parts = {
        "classes": class_loss(outputs["classes"], targets["classes"], class_weights),
        "class_dice": class_dice(outputs["classes"], targets["classes"]),
        "person": F.binary_cross_entropy_with_logits(person, targets["person"], weight=targets["person_weight"]),
        "person_dice": binary_dice(person, targets["person"], targets["person_weight"]),
        "centre": centre_loss(outputs["centre"][:, 0], targets["centre"]),
        "offset": offset_loss(outputs["offset"], targets["offset"], targets["offset_weight"]),
    }
    if teacher:
        parts["teacher"] = teacher_loss(student, teacher, targets["teacher_trust"])
    return {name: value * WEIGHTS[name] for name, value in parts.items()}


def class_loss(logits: Tensor, classes: Tensor, class_weights: tuple[float, ...] = CLASS_WEIGHTS) -> Tensor:
    """Weighted cross-entropy. logits (B, C, h, w); classes (B, h, w), 255 ignored."""
    weight = logits.new_tensor(class_weights)
    summed = F.cross_entropy(logits, classes.long(), weight, ignore_index=IGNORE, reduction="sum")
    return summed / (classes != IGNORE).sum().clamp(min=1)


def class_dice(logits: Tensor, classes: Tensor) -> Tensor:
    """1 - soft Dice, averaged over the classes: what mean IoU asks, rare classes included.

    A class that the batch does not have costs up to ABSENT_COST, half of it where ABSENT_SHARE of all pixels have it:
    otherwise rare classes would be found wherever they might be, for nothing.
    """
    count = logits.shape[1]
    truth = classes.long().clamp(max=count)                                                # (B, h, w), `count`: unknown
    probability = logits.softmax(1) * (truth < count).unsqueeze(1)                         # (B, C, h, w)
    right = probability.gather(1, truth.clamp(max=count - 1).unsqueeze(1)).flatten()       # of each pixel's own class
    overlap = right.new_zeros(count + 1).index_add(0, truth.flatten(), right)[:count]
    pixels = truth.flatten().bincount(minlength=count + 1)[:count]
    claimed = probability.sum((0, 2, 3))
    present = 1 - (2 * overlap + 1) / (claimed + pixels + 1)
    absent = ABSENT_COST * claimed / (claimed + ABSENT_SHARE * classes.numel())
    return torch.where(pixels > 0, present, absent).mean()


def binary_dice(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """1 - soft Dice a picture, averaged. All (B, h, w)."""
    probability, truth = logits.sigmoid() * weight, truth * weight
    overlap = (probability * truth).sum((1, 2))
    return (1 - (2 * overlap + 50) / ((probability + truth).sum((1, 2)) + 50)).mean()


def centre_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Penalty-reduced focal loss (CenterNet, arXiv 1904.07850). Both (B, h, w); truth -1 is left out."""
    probability = logits.sigmoid()
    peak = truth == 1
    rise = F.logsigmoid(logits) * (1 - probability) ** 2 * peak
    fall = F.logsigmoid(-logits) * probability**2 * (1 - truth.clamp(min=0)) ** 4 * ((truth >= 0) & ~peak)
    return -(rise + fall).sum() / (peak.sum() + len(truth))


def offset_loss(offset: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """L1 distance as a share of the person's extent. offset, truth (B, 2, h, w) in pixels; weight (B, h, w) = 1/extent."""
    distance = (offset - truth).abs().sum(1) * weight
    return distance.sum() / (weight > 0).sum().clamp(min=1)


def teacher_loss(student: dict[str, Tensor], teacher: dict[str, Tensor], trust: Tensor) -> Tensor:
    """Cross-entropy with the teacher's probabilities, less its own entropy, averaged over heads. trust (B,) weighs pictures."""
    total = trust.new_zeros(())
    for name, logits in teacher.items():
        soft = logits.float().sigmoid()
        excess = F.binary_cross_entropy_with_logits(student[name].float(), soft, reduction="none")
        excess = excess - F.binary_cross_entropy(soft, soft, reduction="none")
        total = total + (excess.mean((1, 2, 3)) * trust).mean() * (4.0 if name != "segments" else 1.0)
    return total / len(teacher)


def total(parts: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(parts.values())).sum()
