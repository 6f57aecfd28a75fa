"""Losses of the five maps, and of keeping what the teacher knew. All take logits and return a
scalar."""

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
RARE_MOST = 4.0  # how much more a rare garment counts on those who wear it: see worn_loss
ABSENT_COST, ABSENT_SHARE = 0.5, 0.002  # of a class that a batch does not have: see class_dice


def losses(
    outputs: dict[str, Tensor],
    targets: dict[str, Tensor],
    teacher: dict[str, Tensor],
    student: dict[str, Tensor],
    class_weights: tuple[float, ...] = CLASS_WEIGHTS,
    mirrored: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Each loss by name, already weighted; their sum is what is minimised.

    The classes are learnt twice: as the network gives them ("plain_classes", from which people are
    told from the background), and with what it says of each whole person (`steer`), as
    post-processing takes them.

    outputs: of CentreParser; targets: of targets.py with a leading batch axis, and `teacher_trust`
    (B,);
    teacher, student: logit maps by head name, of BodyPix and of the model's own copies of its
    heads; empty without a teacher. class_weights: how much a pixel of each class counts. mirrored:
    class maps of the averaged weights for the mirrored scenes, laid back over these ("classes",
    "wears"); None where they were not asked.
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
    """Weighted cross-entropy. logits (B, C, h, w); classes (B, h, w), 255 ignored."""
    weight = logits.new_tensor(class_weights)
    summed = F.cross_entropy(logits, classes.long(), weight, ignore_index=IGNORE, reduction="sum")
    return summed / (classes != IGNORE).sum().clamp(min=1)


def set_loss(logits: Tensor, sets: Tensor, classes: Tensor) -> Tensor:
    """-log of the summed probability of the classes that a pixel may have, where more than one but
    not all are possible.

    logits (B, C, h, w); sets (B, h, w), classes as bits, 0 where nothing is known; classes (B, h,
    w), 255 where not one. Averaged over the pixels whose class is known or listed, as the
    cross-entropy is. Source: learning from partial labels (Jin and Ghahramani, NIPS 2002).
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
    """Means of maps over each person's pixels: (B, most + 1, C); row 0, nobody's, is zero, as is
    that of nobody there.

    maps (B, C, h, w); owner int64 (B, h, w), the person's number, 1 to `most`, 0 nobody.
    """
    batch, channels = maps.shape[:2]
    # (B·h·w, C)
    rows = maps.permute(0, 2, 3, 1).reshape(-1, channels)
    index = (owner + torch.arange(batch, device=owner.device)[:, None, None] * (most + 1)).flatten()
    sums = rows.new_zeros(batch * (most + 1), channels).index_add(0, index, rows)
    cells = index.bincount(minlength=batch * (most + 1)).clamp(min=1)
    means = (sums / cells[:, None]).view(batch, most + 1, channels)
    return torch.cat([torch.zeros_like(means[:, :1]), means[:, 1:]], 1)


def steer(classes: Tensor, pooled: Tensor, owner: Tensor) -> Tensor:
    """Class logits (B, C, h, w), each person's raised by what speaks for each class on the whole
    person (B, P, C)."""
    batch, channels, height, width = classes.shape
    index = owner.view(batch, -1, 1).expand(-1, -1, channels)
    return classes + pooled.gather(1, index).transpose(1, 2).reshape(batch, channels, height, width)


def worn_loss(pooled: Tensor, worn: Tensor) -> Tensor:
    """Cross-entropy of what each person wears. pooled: logits (B, P, C); worn (B, P, C), 1 yes, 0
    no, -1 unknown.

    Of a class that few people of the batch wear, those who do count more, up to RARE_MOST times:
    else gloves and scarves are denied to everybody.
    """
    known = worn >= 0
    if not known.any():
        return pooled.sum() * 0.0
    yes, no = (worn == 1).sum((0, 1)), (worn == 0).sum((0, 1))  # (C,)
    rare = ((no + 1) / (yes + 1)).sqrt().clamp(1, RARE_MOST)
    weight = torch.where(worn == 1, rare, 1.0)[known]
    return F.binary_cross_entropy_with_logits(pooled[known], worn[known], weight)


def class_dice(logits: Tensor, classes: Tensor) -> Tensor:
    """1 - soft Dice, averaged over the classes: what mean IoU asks, rare classes included.

    A class that the batch does not have costs up to ABSENT_COST, half of it where ABSENT_SHARE of
    all pixels have it: otherwise rare classes would be found wherever they might be, for nothing.
    """
    count = logits.shape[1]
    # (B, h, w), `count`: unknown
    truth = classes.long().clamp(max=count)
    # (B, C, h, w)
    probability = logits.softmax(1) * (truth < count).unsqueeze(1)
    # of each pixel's own class
    right = probability.gather(1, truth.clamp(max=count - 1).unsqueeze(1)).flatten()
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
    """Penalty-reduced focal loss (CenterNet, arXiv 1904.07850). Both (B, h, w); truth -1 is left
    out."""
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
    """L1 distance as a share of the person's extent. offset, truth (B, 2, h, w) in pixels; weight
    (B, h, w) = 1/extent."""
    distance = (offset - truth).abs().sum(1) * weight
    return distance.sum() / (weight > 0).sum().clamp(min=1)


def teacher_loss(student: dict[str, Tensor], teacher: dict[str, Tensor], trust: Tensor) -> Tensor:
    """Cross-entropy with the teacher's probabilities, less its own entropy, averaged over heads.
    trust (B,) weighs pictures."""
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
    """Cross-entropy with the class probabilities of the averaged weights for the mirrored scene,
    less its own entropy.

    logits, known (B, C, h, w), already on the same pixels; person (B, h, w), how much a pixel
    counts. Source: mean teachers (Tarvainen and Valpola, arXiv 1703.01780).
    """
    soft = known.log_softmax(1)
    excess = (soft.exp() * (soft - logits.log_softmax(1))).sum(1)
    return (excess * person).sum() / person.sum().clamp(min=1)


def total(parts: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(parts.values())).sum()
