"""Assign segments to queries: the cheapest one-to-one assignment (the Hungarian method).

DETR (Carion et al., arXiv 2005.12872), with Mask2Former's costs (arXiv 2112.01527): the class, and
for the mask the cross-entropy and Dice at points that are the same for all queries and segments.
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

CLASS_COST, MASK_COST, DICE_COST = 2.0, 5.0, 5.0


@torch.no_grad()
def match(
    class_logits: Tensor, mask_logits: Tensor, classes: Tensor, truth: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Return which query answers for which segment.

    Args:
        class_logits: (Q, C + 1).
        mask_logits: (Q, P), at P points.
        classes: int (T,), of the segments.
        truth: bool (T, P), whether each point lies in each segment.
        known: bool (T, P), whether that is known.

    Returns:
        int (M,) queries and int (M,) segments, with M = min(Q, T); both on the CPU.
    """
    cost = CLASS_COST * -class_logits.float().softmax(-1)[:, classes]  # (Q, T)
    cost = cost + _mask_costs(mask_logits.float(), truth.float(), known.float())
    # A network that diverges gives NaN: that step is discarded later, and must not end the run.
    queries, targets = linear_sum_assignment(
        torch.nan_to_num(cost, nan=1e4, posinf=1e4, neginf=-1e4).cpu().numpy()
    )
    return torch.from_numpy(queries), torch.from_numpy(targets)


def _mask_costs(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Weighted cross-entropy and Dice of every query (Q, P) with every segment (T, P): (Q, T)."""
    inside, outside = (truth * known).T, ((1 - truth) * known).T  # (P, T)
    count = known.sum(1).clamp(min=1)  # (T,)
    entropy = (F.softplus(-logits) @ inside + F.softplus(logits) @ outside) / count
    probability = logits.sigmoid()
    overlap = 2 * (probability @ inside)
    dice = 1 - (overlap + 1) / (probability @ known.T + inside.sum(0) + 1)
    return MASK_COST * entropy + DICE_COST * dice
