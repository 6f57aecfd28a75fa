"""Transformer decoder: a hundred learnt queries, each of which becomes one part, one person, or
nothing.

Mask2Former (Cheng et al., arXiv 2112.01527), section 3.2: masked cross-attention, self-attention,
feed-forward, nine times, over the levels 1/32, 1/16, 1/8 in turn. A query sees only what its last
mask covered.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humanparse.model.deform_attn import sine_positions

# the levels' sizes over the mask features': 1/32, 1/16, 1/8 over 1/4
LEVEL_OF_MASK = (1 / 8, 1 / 4, 1 / 2)


class TransformerDecoder(nn.Module):
    """`num_layers=9` means nine layers. "No object" is added to `num_classes` here, once."""

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
        self.query_feat = nn.Embedding(num_queries, dim)  # what a query begins as
        self.query_embed = nn.Embedding(num_queries, dim)  # its position, added in every attention
        self.level_embed = nn.Embedding(len(LEVEL_OF_MASK), dim)
        self.layers = nn.ModuleList(
            DecoderLayer(dim, ffn_dim, num_heads) for _ in range(num_layers)
        )
        self.decoder_norm = nn.LayerNorm(dim)
        self.class_embed = nn.Linear(dim, num_classes + 1)
        self.mask_embed = MLP(dim, num_layers=3)

    def forward(self, mask_features: Tensor, levels: list[Tensor]) -> dict[str, Tensor]:
        """mask_features: (B, dim, H/4, W/4); levels: (B, dim, ·) at 1/32, 1/16, 1/8. Returns
        pred_logits (B, Q, num_classes + 1) and pred_masks (B, Q, H/4, W/4), logits both. In
        training mode also `earlier`, a list of such pairs: what the queries would have answered
        before each of the layers.
        """
        values, keys, targets = [], [], []
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
            # Resizing and taking the product with a query are both linear: the features are resized
            # once, not the hundred masks of every layer.
            small = F.interpolate(
                mask_features, scale_factor=scale, mode="bilinear", align_corners=False
            )
            # (B, dim, h·w)
            targets.append(small.flatten(2))
        # (B, Q, dim)
        x = self.query_feat.weight.expand(mask_features.shape[0], -1, -1)
        earlier = []
        for index, layer in enumerate(self.layers):
            if self.training:
                earlier.append(self._answers(x, mask_features))
            level = index % len(levels)
            # (B, Q, h·w)
            hidden = self.mask_embed(self.decoder_norm(x)) @ targets[level] < 0
            # A query that may see nothing would softmax to NaN, so let it see everything.
            hidden = hidden & ~hidden.all(-1, keepdim=True)
            x = layer(x, self.query_embed.weight, keys[level], values[level], hidden)
        answers = self._answers(x, mask_features)
        return answers | {"earlier": earlier} if self.training else answers

    def _answers(self, x: Tensor, mask_features: Tensor) -> dict[str, Tensor]:
        """The classes and masks of queries x (B, Q, dim)."""
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
    """Queries look at the picture, then at each other, then think; the norm comes after each."""

    def __init__(self, dim: int, ffn_dim: int, num_heads: int):
        super().__init__()
        self.cross_attn, self.cross_norm = MultiHeadAttention(dim, num_heads), nn.LayerNorm(dim)
        self.self_attn, self.self_norm = MultiHeadAttention(dim, num_heads), nn.LayerNorm(dim)
        self.linear1, self.linear2 = nn.Linear(dim, ffn_dim), nn.Linear(ffn_dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(
        self, x: Tensor, places: Tensor, keys: Tensor, values: Tensor, hidden: Tensor
    ) -> Tensor:
        """x: (B, Q, dim); places: (Q, dim); keys, values: (B, S, dim); hidden: bool (B, Q, S).
        Returns (B, Q, dim)."""
        x = self.cross_norm(x + self.cross_attn(x + places, keys, values, hidden))
        x = self.self_norm(x + self.self_attn(x + places, x + places, x))
        return self.ffn_norm(x + self.linear2(F.relu(self.linear1(x))))


class MultiHeadAttention(nn.Module):
    """Multi-head attention; the projections of query, key and value lie stacked, as in PyTorch's
    own."""

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
        """query: (B, Q, dim); key, value: (B, S, dim); hidden: bool (B, Q, S), True where it must
        not look. Returns (B, Q, dim)."""
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
    """Linear layers of one width with ReLU between them."""

    def __init__(self, dim: int, num_layers: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)
