"""Points instead of pixels: masks are compared at some thousands of points, most of them where the
network is unsure.

PointRend (Kirillov et al., arXiv 1912.08193), section 3.1: draw `oversample` times as many points
as wanted, keep the `importance` share of those wanted where the logit is nearest to zero, and draw
the rest anew. Mask2Former (arXiv
2112.01527), section 3.3, has the numbers: 12544 points, 3, 0.75.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

OVERSAMPLE = 3
IMPORTANCE = 0.75


def random_points(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device
) -> Tensor:
    """float (*shape, 2): points as (x, y) in 0–1. Drawn on the CPU: the same on every device."""
    return torch.rand(*shape, 2, generator=generator).to(device)


def read_logits(maps: Tensor, points: Tensor) -> Tensor:
    """Between the cells, bilinearly. maps: (N, h, w); points: (N, P, 2). Returns (N, P)."""
    # (N, P, 1, 2)
    grid = points[:, :, None] * 2 - 1
    return F.grid_sample(maps[:, None], grid, align_corners=False)[:, 0, :, 0]


def read_numbers(maps: Tensor, points: Tensor) -> Tensor:
    """The number of the pixel in which each point lies. maps: int (N, H, W); points: (N, P, 2).
    Returns int (N, P)."""
    height, width = maps.shape[1:]
    columns = (points[..., 0] * width).long().clamp(max=width - 1)
    rows = (points[..., 1] * height).long().clamp(max=height - 1)
    return maps.flatten(1).gather(1, rows * width + columns)


@torch.no_grad()
def uncertain_points(maps: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` points for each logit map (N, h, w): float (N, count, 2)."""
    drawn = random_points((len(maps), OVERSAMPLE * count), generator, maps.device)
    unsure = int(IMPORTANCE * count)
    # (N, unsure)
    chosen = (-read_logits(maps, drawn).abs()).topk(unsure, dim=1).indices
    near = drawn.gather(1, chosen[..., None].expand(-1, -1, 2))
    return torch.cat([near, random_points((len(maps), count - unsure), generator, maps.device)], 1)
