"""Multi-scale deformable attention: every query looks at a few points of every level.

The query itself determines where the points lie. Source: Deformable DETR (Zhu et al.,
arXiv 2010.04159). The code is written for export: plain tensor arithmetic and one grid_sample per
level, whose points are summed before the next level is processed, so that no stack of sampled
points is ever built. Sizes are plain numbers in plain arithmetic, so that nothing of the traced
picture stays in the graph.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int, int]  # height, width of a level


class DeformableAttention(nn.Module):
    """Deformable attention over several levels.

    Args:
        dim: The channels of queries and values.
        num_heads: The number of heads.
        num_levels: The number of levels.
        num_points: The number of points per head and level.
    """

    def __init__(self, dim: int, num_heads: int, num_levels: int, num_points: int = 4):
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(dim, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(dim, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self._look_around()

    def forward(
        self, query: Tensor, reference: Tensor, values: Tensor, sizes: list[Size]
    ) -> Tensor:
        """Let every query look at its points.

        Args:
            query: (B, N, dim).
            reference: (N, 2), the position of each query as (x, y) in 0–1.
            values: (B, S, dim), the cells of the levels one after another, row by row.
            sizes: The sizes of the levels; S = Σ h·w.

        Returns:
            (B, N, dim).
        """
        heads, levels, points = self.num_heads, self.num_levels, self.num_points
        batch, count, dim = query.shape
        # Everything is transposed once so that the queries are innermost: the engines then add up
        # long rows instead of four points.
        offsets = (
            self.sampling_offsets(query)
            .transpose(1, 2)
            .reshape(batch * heads, levels, points, 2, count)
        )
        weights = (
            self.attention_weights(query).view(batch, count, heads, levels * points).softmax(-1)
        )
        weights = weights.permute(0, 2, 3, 1).reshape(batch * heads, 1, levels, points, count)
        values = self.value_proj(values).transpose(1, 2).reshape(batch * heads, dim // heads, -1)
        maps = values.split([h * w for h, w in sizes], dim=2)
        # (N, 2), in the range -1…1 of grid_sample
        centre = reference * 2 - 1

        total: Tensor | int = 0
        for level, (h, w) in enumerate(sizes):
            value = maps[level].reshape(batch * heads, dim // heads, h, w)
            # (B·heads, points, N)
            x = centre[:, 0] + offsets[:, level, :, 0] * (2 / w)
            y = centre[:, 1] + offsets[:, level, :, 1] * (2 / h)
            # (B·heads, points, N, 2)
            grid = torch.stack([x, y], -1)
            sampled = F.grid_sample(
                value, grid, mode="bilinear", padding_mode="zeros", align_corners=False
            )
            # (B·heads, dim/heads, N)
            total = total + (sampled * weights[:, :, level]).sum(2)
        assert isinstance(total, Tensor)
        return self.output_proj(total.reshape(batch, dim, count).transpose(1, 2))

    def _look_around(self) -> None:
        """Initialise as in the paper.

        Head k looks in direction k, with point p at distance p + 1, and all points have equal
        weights.
        """
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        # (heads, 2)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().max(-1, keepdim=True).values
        # (points, 1)
        distance = torch.arange(1, self.num_points + 1)[:, None]
        # (heads, levels, points, 2)
        offsets = (direction[:, None, None] * distance).repeat(1, self.num_levels, 1, 1)
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def cell_centres(sizes: list[Size], device: torch.device) -> Tensor:
    """Return the centre of every cell of every level.

    Args:
        sizes: The sizes of the levels.
        device: The device of the result.

    Returns:
        (S, 2), as (x, y) in 0–1, in the order of the cells.
    """
    levels = []
    for h, w in sizes:
        y = (torch.arange(h, device=device) + 0.5) / h
        x = (torch.arange(w, device=device) + 0.5) / w
        levels.append(torch.stack([x.expand(h, w), y[:, None].expand(h, w)], -1).reshape(h * w, 2))
    return torch.cat(levels)


def sine_positions(h: int, w: int, dim: int, device: torch.device) -> Tensor:
    """Return sines and cosines of the position of each cell, first vertical, then horizontal.

    Source: DETR (arXiv 2005.12872).

    Args:
        h: The number of rows.
        w: The number of columns.
        dim: The number of channels, a multiple of 4.
        device: The device of the result.

    Returns:
        (dim, h, w).
    """

    def waves(length: int) -> Tensor:
        place = torch.arange(1, length + 1, device=device) / (length + 1e-6) * (2 * math.pi)
        angles = place[:, None] / periods
        # sin, cos, sin, cos, …
        return torch.stack([angles.sin(), angles.cos()], -1).reshape(length, dim // 2)

    periods = 10000 ** (torch.arange(dim // 4, device=device) / (dim // 4))
    down = waves(h).transpose(0, 1)[:, :, None].expand(dim // 2, h, w)
    across = waves(w).transpose(0, 1)[:, None, :].expand(dim // 2, h, w)
    return torch.cat([down, across])
