"""Pixel decoder: the backbone's coarse maps exchange information, then a pyramid leads to stride 4.

Mask2Former (Cheng et al., arXiv 2112.01527), section 3.2: six layers of multi-scale deformable
attention, and one step of a feature pyramid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humanparse.model.deform_attn import DeformableAttention, Size, cell_centres, sine_positions
from humanparse.model.resnet import ConvNorm


class PixelDecoder(nn.Module):
    """Deformable attention among three levels, and one step of a feature pyramid.

    Levels are counted from the coarsest one: 1/32, 1/16, 1/8.

    Args:
        in_channels: The channels of res2…res5.
        dim: The channels of the results.
        num_layers: The number of encoder layers.
        num_heads: The number of heads of their attention.
        ffn_dim: The width of their feed-forward networks.
    """

    def __init__(
        self, in_channels: tuple[int, ...], dim: int, num_layers: int, num_heads: int, ffn_dim: int
    ):
        super().__init__()
        res2, *coarse = in_channels
        self.dim = dim
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, dim, 1), nn.GroupNorm(32, dim)) for c in reversed(coarse)
        )
        self.level_embed = nn.Parameter(torch.randn(len(coarse), dim))
        self.layers = nn.ModuleList(
            EncoderLayer(dim, ffn_dim, num_heads, len(coarse)) for _ in range(num_layers)
        )
        self.lateral = ConvNorm(res2, dim, 1, nn.GroupNorm(32, dim))
        self.smooth = ConvNorm(dim, dim, 3, nn.GroupNorm(32, dim))
        self.mask_features = nn.Conv2d(dim, dim, 1)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """Compute the mask features and the levels.

        Args:
            features: res2…res5.

        Returns:
            The mask features (B, dim, H/4, W/4), and the levels (B, dim, ·) at 1/32, 1/16 and 1/8.
        """
        res2, *coarse = features
        maps = [project(x) for project, x in zip(self.input_proj, reversed(coarse), strict=True)]
        sizes: list[Size] = [(x.shape[2], x.shape[3]) for x in maps]
        # (B, S, dim)
        x = torch.cat([_cells(one) for one in maps], 1)
        positions = torch.cat(
            [
                (sine_positions(h, w, self.dim, x.device) + self.level_embed[level][:, None, None])
                .flatten(1)
                .transpose(0, 1)
                for level, (h, w) in enumerate(sizes)
            ]
        )  # (S, dim)
        reference = cell_centres(sizes, x.device)
        for layer in self.layers:
            x = layer(x, positions, reference, sizes)
        parts = x.split([h * w for h, w in sizes], dim=1)
        levels = [
            part.transpose(1, 2).reshape(-1, self.dim, h, w)
            for part, (h, w) in zip(parts, sizes, strict=True)
        ]
        up = F.interpolate(levels[-1], scale_factor=2.0, mode="bilinear", align_corners=False)
        fine = F.relu(self.smooth(self.lateral(res2) + up))
        return self.mask_features(fine), levels


class EncoderLayer(nn.Module):
    """Deformable self-attention over all cells of all levels, then a feed-forward network.

    There is a layer norm after each.

    Args:
        dim: The channels of the cells.
        ffn_dim: The width of the feed-forward network.
        num_heads: The number of heads of the attention.
        num_levels: The number of levels.
    """

    def __init__(self, dim: int, ffn_dim: int, num_heads: int, num_levels: int):
        super().__init__()
        self.self_attn = DeformableAttention(dim, num_heads, num_levels)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1, self.linear2 = nn.Linear(dim, ffn_dim), nn.Linear(ffn_dim, dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, positions: Tensor, reference: Tensor, sizes: list[Size]) -> Tensor:
        """Apply the layer.

        Args:
            x: (B, S, dim), the cells of all levels.
            positions: (S, dim), the encoding of their positions.
            reference: (S, 2), their centres.
            sizes: The sizes of the levels.

        Returns:
            (B, S, dim).
        """
        x = self.norm1(x + self.self_attn(x + positions, reference, x, sizes))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))


def _cells(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)  # (B, dim, h, w) → (B, h·w, dim)
