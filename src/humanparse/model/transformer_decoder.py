"""Transformer decoder: a hundred learnt queries become parts, people, or nothing.

Mask2Former (Cheng et al., arXiv 2112.01527), section 3.2: masked cross-attention, self-attention
and a feed-forward network, nine times, over the levels 1/32, 1/16 and 1/8 in turn. A query sees
only what its last mask covered.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humanparse.model.deform_attn import sine_positions

# The sizes of the levels relative to the mask features: 1/32, 1/16, 1/8 over 1/4.
LEVEL_OF_MASK = (1 / 8, 1 / 4, 1 / 2)


class TransformerDecoder(nn.Module):
    """The queries and the layers that update them.

    Args:
        num_classes: The number of classes; "no object" is added here, once.
        dim: The channels of queries and levels.
        num_queries: The number of queries.
        num_layers: The number of layers; 9 means nine layers.
        num_heads: The number of heads of their attention.
        ffn_dim: The width of their feed-forward networks.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        num_queries: int,
        num_layers: int,
        num_heads: int,
        ffn_dim: int,
    ):
        super().__init__()
        self.dim = dim
        # The initial queries, and their positions, which are added in every attention.
        self.query_feat = nn.Embedding(num_queries, dim)
        self.query_embed = nn.Embedding(num_queries, dim)
        self.level_embed = nn.Embedding(len(LEVEL_OF_MASK), dim)
        self.layers = nn.ModuleList(
            DecoderLayer(dim, ffn_dim, num_heads) for _ in range(num_layers)
        )
        self.decoder_norm = nn.LayerNorm(dim)
        self.class_embed = nn.Linear(dim, num_classes + 1)
        self.mask_embed = MLP(dim, num_layers=3)

    def forward(self, mask_features: Tensor, levels: list[Tensor]) -> dict[str, Any]:
        """Compute the classes and masks of all queries.

        Args:
            mask_features: (B, dim, H/4, W/4).
            levels: (B, dim, ·) at 1/32, 1/16 and 1/8.

        Returns:
            pred_logits (B, Q, num_classes + 1) and pred_masks (B, Q, H/4, W/4), both logits. In
            training
            mode also `earlier`, a list of such pairs: the predictions before each of the layers.
        """
        values: list[Tensor] = []
        keys: list[Tensor] = []
        targets: list[Tensor] = []
        for index, (level, scale) in enumerate(zip(levels, LEVEL_OF_MASK, strict=True)):
            embed = self.level_embed.weight[index][:, None, None]
            # (B, dim, h·w)
            value = (level + embed).flatten(2)
            place = sine_positions(level.shape[2], level.shape[3], self.dim, level.device).flatten(
                1
            )
            values.append(value.transpose(1, 2))
            # (B, h·w, dim)
            keys.append((value + place).transpose(1, 2))
            # Resizing and the product with a query are both linear: the features are resized once,
            # instead of the hundred masks of every layer.
            small = F.interpolate(
                mask_features, scale_factor=scale, mode="bilinear", align_corners=False
            )
            # (B, dim, h·w)
            targets.append(small.flatten(2))
        # (B, Q, dim)
        x = self.query_feat.weight.expand(mask_features.shape[0], -1, -1)
        earlier: list[dict[str, Tensor]] = []
        for index, layer in enumerate(self.layers):
            if self.training:
                earlier.append(self._predictions(x, mask_features))
            number = index % len(levels)
            # (B, Q, h·w)
            hidden = self.mask_embed(self.decoder_norm(x)) @ targets[number] < 0
            # The softmax of a query that may see nothing would be NaN, so let it see everything.
            hidden = hidden & ~hidden.all(-1, keepdim=True)
            x = layer(x, self.query_embed.weight, keys[number], values[number], hidden)
        predictions = self._predictions(x, mask_features)
        return predictions | {"earlier": earlier} if self.training else predictions

    def _predictions(self, x: Tensor, mask_features: Tensor) -> dict[str, Tensor]:
        """Return the classes and masks of queries x (B, Q, dim)."""
        x = self.decoder_norm(x)
        # (B, Q, H/4·W/4)
        masks = self.mask_embed(x) @ mask_features.flatten(2)
        return {
            "pred_logits": self.class_embed(x),
            "pred_masks": masks.reshape(
                masks.shape[0], -1, mask_features.shape[2], mask_features.shape[3]
            ),
        }


class DecoderLayer(nn.Module):
    """Queries look at the picture, then at each other, then pass a feed-forward network.

    There is a layer norm after each.

    Args:
        dim: The channels of queries and levels.
        ffn_dim: The width of the feed-forward network.
        num_heads: The number of heads of the attention.
    """

    def __init__(self, dim: int, ffn_dim: int, num_heads: int):
        super().__init__()
        self.cross_attn, self.cross_norm = MultiHeadAttention(dim, num_heads), nn.LayerNorm(dim)
        self.self_attn, self.self_norm = MultiHeadAttention(dim, num_heads), nn.LayerNorm(dim)
        self.linear1, self.linear2 = nn.Linear(dim, ffn_dim), nn.Linear(ffn_dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(
        self, x: Tensor, places: Tensor, keys: Tensor, values: Tensor, hidden: Tensor
    ) -> Tensor:
        """Update the queries.

        Args:
            x: (B, Q, dim), the queries.
            places: (Q, dim), their learnt positions.
            keys: (B, S, dim), the cells with their positions.
            values: (B, S, dim), the cells.
            hidden: bool (B, Q, S), True where a query must not look.

        Returns:
            (B, Q, dim).
        """
        x = self.cross_norm(x + self.cross_attn(x + places, keys, values, hidden))
        x = self.self_norm(x + self.self_attn(x + places, x + places, x))
        return self.ffn_norm(x + self.linear2(F.relu(self.linear1(x))))


class MultiHeadAttention(nn.Module):
    """Multi-head attention.

    The projections of query, key and value are stacked, as in PyTorch's own module.

    Args:
        dim: The channels.
        num_heads: The number of heads.
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None = None
    ) -> Tensor:
        """Let the queries look at the keys.

        Args:
            query: (B, Q, dim).
            key: (B, S, dim).
            value: (B, S, dim).
            hidden: bool (B, Q, S), True where a query must not look.

        Returns:
            (B, Q, dim).
        """
        projections = zip(self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        q, k, v = (
            # (B, heads, ·, dim/heads)
            F.linear(x, weight, bias).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x, (weight, bias) in zip((query, key, value), projections, strict=True)
        )
        # (B, heads, Q, S)
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        if hidden is not None:
            scores = scores.masked_fill(hidden[:, None], float("-inf"))
        return self.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Linear layers of the same width with ReLU between them.

    Args:
        dim: The width.
        num_layers: The number of layers.
    """

    def __init__(self, dim: int, num_layers: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)
