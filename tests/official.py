"""A small M2FP with random weights, and its tensors under the names of the official checkpoints."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from humanparse.model.m2fp import M2FP, m2fp_tiny

ATTENTION = r"transformer_decoder\.layers\.(\d+)\.{}\."
OFFICIAL = (
    (
        ATTENTION.format("cross_attn"),
        r"transformer_decoder.transformer_cross_attention_layers.\1.multihead_attn.",
    ),
    (
        ATTENTION.format("cross_norm"),
        r"transformer_decoder.transformer_cross_attention_layers.\1.norm.",
    ),
    (
        ATTENTION.format("self_attn"),
        r"transformer_decoder.transformer_self_attention_layers.\1.self_attn.",
    ),
    (
        ATTENTION.format("self_norm"),
        r"transformer_decoder.transformer_self_attention_layers.\1.norm.",
    ),
    (ATTENTION.format("ffn_norm"), r"transformer_decoder.transformer_ffn_layers.\1.norm."),
    (ATTENTION.format("(linear[12])"), r"transformer_decoder.transformer_ffn_layers.\1.\2."),
    (r"pixel_decoder\.level_embed", "pixel_decoder.transformer.level_embed"),
    (r"pixel_decoder\.layers\.", "pixel_decoder.transformer.encoder.layers."),
    (r"pixel_decoder\.lateral\.", "pixel_decoder.adapter_1."),
    (r"pixel_decoder\.smooth\.", "pixel_decoder.layer_1."),
    (r"^transformer_decoder\.", "sem_seg_head.predictor."),
    (r"^pixel_decoder\.", "sem_seg_head.pixel_decoder."),
)


def tiny_network(num_classes: int = 21, seed: int = 0) -> M2FP:
    """Random weights that make the outputs depend on every part: offsets, attention and BatchNorm's
    statistics too."""
    torch.manual_seed(seed)
    network = m2fp_tiny(num_classes).eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith(("sampling_offsets.weight", "attention_weights.weight")):
                tensor.normal_(std=0.3)
            if name.endswith("running_mean"):
                tensor.normal_(std=0.1)
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
    return network


def smallest_network() -> M2FP:
    """The same with one block in each stage of the backbone and three layers of the decoder, one
    for each level: for what depends on the kinds of layers, and grows with their number."""
    network = tiny_network()
    for name in ("res2", "res3", "res4", "res5"):
        setattr(network.backbone, name, getattr(network.backbone, name)[:1])
    network.transformer_decoder.layers = network.transformer_decoder.layers[:3]
    return network


def official_state(network: M2FP) -> dict[str, Tensor]:
    """The network's tensors by official name."""
    return {_official(name): tensor.clone() for name, tensor in network.state_dict().items()}


def _official(name: str) -> str:
    for pattern, replacement in OFFICIAL:
        name = re.sub(pattern, replacement, name)
    return name
