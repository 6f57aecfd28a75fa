"""Losses of the embedded model: of its five maps, and of keeping what the teacher knew.

All functions take logits and return a scalar.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from humanparse.training.wears import IGNORE

WEIGHTS = {
    "classes": 0.6,
    "plain_classes": 0.4,
    "listed": 0.6,
    "class_dice": 1.0,
    "worn": 0.4,
    "mirror": 0.6,
    "person": 1.0,
    "person_dice": 0.5,
    "centre": 0.5,
    "offset": 6.0,
    "teacher": 1.0,
}
# Pixels of rare classes count a little more; with two to six times as much they won too often
# (docs/lab-book.md).
CLASS_WEIGHTS = (
    0.7,
    1.1,
    0.8,
    1.2,
    1.2,
    0.9,
    1.1,
    1.0,
    1.2,
    0.95,
    0.9,
    1.0,
    1.2,
    0.9,
    0.9,
    0.9,
    0.8,
    0.8,
    1.0,
    1.0,
)
MAX_RARE = 4.0  # how much more a rare garment counts on those who wear it: see worn_loss
ABSENT_COST, ABSENT_SHARE = 0.5, 0.002  # for classes that a batch does not have: see class_dice


def losses(
    outputs: dict[str, Tensor],
    targets: dict[str, Tensor],
    teacher: dict[str, Tensor],
    student: dict[str, Tensor],
    class_weights: tuple[float, ...] = CLASS_WEIGHTS,
    mirrored: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return each loss by name, already weighted; their sum is minimised.

    The classes are learnt twice: as the network gives them ("plain_classes", from which people are
    told from the background), and with what it says about each whole person (`steer`), as
    post-processing uses them.

    Args:
        outputs: The outputs of CentreParser.
        targets: The targets of targets.py with a leading batch axis, and `teacher_trust` (B,).
        teacher: BodyPix's logit maps by head name; empty without a teacher.
        student: The logit maps of the model's own copies of those heads.
        class_weights: How much a pixel of each class counts.
        mirrored: The averaged weights' class maps ("classes", "wears") for the mirrored scenes,
            mirrored back; None for steps without them.
    """
    outputs = {name: value.float() for name, value in outputs.items()}
    person = outputs["person"][:, 0]
    pooled = person_means(outputs["wears"], targets["owner"], targets["worn"].shape[1])
    steered = steer(outputs["classes"], pooled, targets["owner"])
    parts = {
        "classes": class_loss(steered, targets["classes"], class_weights),
        "plain_classes": class_loss(outputs["classes"], targets["classes"], class_weights),
        "listed": set_loss(steered, targets["sets"], targets["classes"]),
        "class_dice": class_dice(steered, targets["classes"]),
        "worn": worn_loss(pooled[:, 1:], targets["worn"]),
        "person": F.binary_cross_entropy_with_logits(
            person, targets["person"], weight=targets["person_weight"]
        ),
        "person_dice": binary_dice(person, targets["person"], targets["person_weight"]),
        "centre": centre_loss(outputs["centre"][:, 0], targets["centre"]),
        "offset": offset_loss(outputs["offset"], targets["offset"], targets["offset_weight"]),
    }
    if teacher:
        parts["teacher"] = teacher_loss(student, teacher, targets["teacher_trust"])
    if mirrored:
        maps = {name: value.float() for name, value in mirrored.items()}
        theirs = person_means(maps["wears"], targets["owner"], targets["worn"].shape[1])
        known = steer(maps["classes"], theirs, targets["owner"])
        parts["mirror"] = mirror_loss(steered, known, targets["person"])
    return {name: value * WEIGHTS[name] for name, value in parts.items()}


def class_loss(
    logits: Tensor, classes: Tensor, class_weights: tuple[float, ...] = CLASS_WEIGHTS
) -> Tensor:
    """Return the weighted cross-entropy.

    Args:
        logits: (B, C, h, w).
        classes: (B, h, w), 255 ignored.
        class_weights: How much a pixel of each class counts.
    """
    weight = logits.new_tensor(class_weights)
    summed = F.cross_entropy(logits, classes.long(), weight, ignore_index=IGNORE, reduction="sum")
    return summed / (classes != IGNORE).sum().clamp(min=1)


def set_loss(logits: Tensor, sets: Tensor, classes: Tensor) -> Tensor:
    """Return the loss of pixels for which several classes, but not all, are possible.

    It is -log of the summed probability of the possible classes, averaged over the pixels whose
    class is known or listed, as the cross-entropy is. Source: learning from partial labels (Jin and
    Ghahramani, NIPS 2002).

    Args:
        logits: (B, C, h, w).
        sets: (B, h, w), the possible classes as bits, 0 where nothing is known.
        classes: (B, h, w), 255 where the class is not known.
    """
    asked = (sets > 0) & (classes == IGNORE)
    count = asked.sum()
    if not count:
        return logits.sum() * 0.0
    rows = logits.permute(0, 2, 3, 1)[asked]  # (N, C)
    may = (sets[asked][:, None] >> torch.arange(rows.shape[1], device=rows.device) & 1) > 0
    cost = rows.logsumexp(1) - rows.masked_fill(~may, -torch.inf).logsumexp(1)
    return cost.sum() / (count + (classes != IGNORE).sum())


def person_means(maps: Tensor, owner: Tensor, most: int) -> Tensor:
    """Return the means of maps over each person's pixels.

    Args:
        maps: (B, C, h, w).
        owner: int64 (B, h, w), the person's number, 1 to `most`, 0 nobody.
        most: The largest number of a person.

    Returns:
        (B, most + 1, C); row 0, nobody's, is zero, and so are the rows of people who are not there.
    """
    batch, channels = maps.shape[:2]
    rows = maps.permute(0, 2, 3, 1).reshape(-1, channels)  # (B·h·w, C)
    index = (owner + torch.arange(batch, device=owner.device)[:, None, None] * (most + 1)).flatten()
    sums = rows.new_zeros(batch * (most + 1), channels).index_add(0, index, rows)
    cells = index.bincount(minlength=batch * (most + 1)).clamp(min=1)
    means = (sums / cells[:, None]).view(batch, most + 1, channels)
    return torch.cat([torch.zeros_like(means[:, :1]), means[:, 1:]], 1)


def steer(classes: Tensor, pooled: Tensor, owner: Tensor) -> Tensor:
    """Return the class logits with each person's raised by what the whole person says about each
    class.

    Args:
        classes: (B, C, h, w).
        pooled: (B, P, C), by person.
        owner: int64 (B, h, w), the person of each pixel.
    """
    batch, channels, height, width = classes.shape
    index = owner.view(batch, -1, 1).expand(-1, -1, channels)
    return classes + pooled.gather(1, index).transpose(1, 2).reshape(batch, channels, height, width)


def worn_loss(pooled: Tensor, worn: Tensor) -> Tensor:
    """Return the cross-entropy of what each person wears.

    If few people of the batch wear a class, those who do count more, up to MAX_RARE times;
    otherwise gloves and scarves would be denied to everybody.

    Args:
        pooled: Logits (B, P, C).
        worn: (B, P, C), 1 yes, 0 no, -1 unknown.
    """
    known = worn >= 0
    if not known.any():
        return pooled.sum() * 0.0
    yes, no = (worn == 1).sum((0, 1)), (worn == 0).sum((0, 1))  # (C,)
    rare = ((no + 1) / (yes + 1)).sqrt().clamp(1, MAX_RARE)
    weight = torch.where(worn == 1, rare, 1.0)[known]
    return F.binary_cross_entropy_with_logits(pooled[known], worn[known], weight)


def class_dice(logits: Tensor, classes: Tensor) -> Tensor:
    """Return 1 - soft Dice, averaged over the classes: like mean IoU, all classes count the same.

    A class that the batch does not have costs up to ABSENT_COST, half of it where ABSENT_SHARE of
    all pixels have it: otherwise rare classes would be found wherever they might be, at no cost.

    Args:
        logits: (B, C, h, w).
        classes: (B, h, w), 255 unknown.
    """
    count = logits.shape[1]
    truth = classes.long().clamp(max=count)  # (B, h, w), `count` where unknown
    probability = logits.softmax(1) * (truth < count).unsqueeze(1)  # (B, C, h, w)
    # The probability of each pixel's own class.
    right = probability.gather(1, truth.clamp(max=count - 1).unsqueeze(1)).flatten()
    overlap = right.new_zeros(count + 1).index_add(0, truth.flatten(), right)[:count]
    pixels = truth.flatten().bincount(minlength=count + 1)[:count]
    claimed = probability.sum((0, 2, 3))
    present = 1 - (2 * overlap + 1) / (claimed + pixels + 1)
    absent = ABSENT_COST * claimed / (claimed + ABSENT_SHARE * classes.numel())
    return torch.where(pixels > 0, present, absent).mean()


def binary_dice(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return 1 - soft Dice of each picture, averaged. All are (B, h, w)."""
    probability, truth = logits.sigmoid() * weight, truth * weight
    overlap = (probability * truth).sum((1, 2))
    return (1 - (2 * overlap + 50) / ((probability + truth).sum((1, 2)) + 50)).mean()


def centre_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the penalty-reduced focal loss (CenterNet, arXiv 1904.07850).

    Args:
        logits: (B, h, w).
        truth: (B, h, w); -1 is left out.
    """
    probability = logits.sigmoid()
    peak = truth == 1
    rise = F.logsigmoid(logits) * (1 - probability) ** 2 * peak
    fall = (
        F.logsigmoid(-logits)
        * probability**2
        * (1 - truth.clamp(min=0)) ** 4
        * ((truth >= 0) & ~peak)
    )
    return -(rise + fall).sum() / (peak.sum() + len(truth))


def offset_loss(offset: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the L1 distance as a share of the person's extent.

    Args:
        offset: (B, 2, h, w) in pixels.
        truth: (B, 2, h, w) in pixels.
        weight: (B, h, w), 1 / extent; 0 where there is nobody.
    """
    distance = (offset - truth).abs().sum(1) * weight
    return distance.sum() / (weight > 0).sum().clamp(min=1)


def teacher_loss(student: dict[str, Tensor], teacher: dict[str, Tensor], trust: Tensor) -> Tensor:
    """Return the cross-entropy with the teacher's probabilities, averaged over heads.

    The teacher's own entropy is subtracted.

    Args:
        student: Logit maps by head name.
        teacher: Logit maps by head name.
        trust: (B,), the weight of each picture.
    """
    total = trust.new_zeros(())
    for name, logits in teacher.items():
        soft = logits.float().sigmoid()
        excess = F.binary_cross_entropy_with_logits(student[name].float(), soft, reduction="none")
        excess = excess - F.binary_cross_entropy(soft, soft, reduction="none")
        total = total + (excess.mean((1, 2, 3)) * trust).mean() * (
            4.0 if name != "segments" else 1.0
        )
    return total / len(teacher)


def mirror_loss(logits: Tensor, known: Tensor, person: Tensor) -> Tensor:
    """Return the cross-entropy with the averaged weights' probabilities for the mirrored scene.

    Their own entropy is subtracted. Source: mean teachers (Tarvainen and Valpola, arXiv
    1703.01780).

    Args:
        logits: (B, C, h, w).
        known: (B, C, h, w), the averaged weights' logits on the same pixels.
        person: (B, h, w), how much a pixel counts.
    """
    soft = known.log_softmax(1)
    excess = (soft.exp() * (soft - logits.log_softmax(1))).sum(1)
    return (excess * person).sum() / person.sum().clamp(min=1)
