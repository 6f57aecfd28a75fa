"""Compare masks at some thousands of points, most of them where the network is unsure.

PointRend (Kirillov et al., arXiv 1912.08193), section 3.1: draw `oversample` times as many points
as wanted, keep the `importance` share of those wanted where the logit is nearest to zero, and draw
the rest at random. Mask2Former (arXiv 2112.01527), section 3.3, has the numbers: 12544 points, 3,
0.75.
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
    """Return random points as (x, y) in 0–1, drawn on the CPU so that every device has the same.

    Args:
        shape: The shape of the set of points.
        generator: Draws them, on the CPU.
        device: Where to put them.

    Returns:
        float (*shape, 2).
    """
    return torch.rand(*shape, 2, generator=generator).to(device)


def read_logits(maps: Tensor, points: Tensor) -> Tensor:
    """Read maps at points, bilinearly between the cells.

    Args:
        maps: (N, h, w).
        points: (N, P, 2), as (x, y) in 0–1.

    Returns:
        (N, P).
    """
    grid = points[:, :, None] * 2 - 1  # (N, P, 1, 2)
    return F.grid_sample(maps[:, None], grid, align_corners=False)[:, 0, :, 0]


def read_numbers(maps: Tensor, points: Tensor) -> Tensor:
    """Read the number of the pixel in which each point lies.

    Args:
        maps: int (N, H, W).
        points: (N, P, 2), as (x, y) in 0–1.

    Returns:
        int (N, P).
    """
    height, width = maps.shape[1:]
    columns = (points[..., 0] * width).long().clamp(max=width - 1)
    rows = (points[..., 1] * height).long().clamp(max=height - 1)
    return maps.flatten(1).gather(1, rows * width + columns)


@torch.no_grad()
def uncertain_points(maps: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return points at which to compare masks, most of them where the logits are nearest to zero.

    Args:
        maps: Logits (N, h, w).
        count: The number of points for each map.
        generator: Draws them, on the CPU.

    Returns:
        float (N, count, 2).
    """
    drawn = random_points((len(maps), OVERSAMPLE * count), generator, maps.device)
    unsure = int(IMPORTANCE * count)
    chosen = (-read_logits(maps, drawn).abs()).topk(unsure, dim=1).indices  # (N, unsure)
    near = drawn.gather(1, chosen[..., None].expand(-1, -1, 2))
    return torch.cat([near, random_points((len(maps), count - unsure), generator, maps.device)], 1)
