"""Measure the weights during training: the PyTorch network, run as an engine on held-out scenes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import nn

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.evaluation.mean_iou import MeanIoU
from humanparse.parser import HumanParser
from humanparse.training.scenes import Scene
from humanparse.training.validate import Score


class TorchEngine:
    """An engine that runs a PyTorch network in fp32.

    Args:
        network: The network, ready for inference.
        card: What it says about itself.
        device: Where it runs.
    """

    def __init__(self, network: nn.Module, card: ModelCard, device: torch.device):
        self.network, self.device = network, device
        self.metadata: Mapping[str, str] = {METADATA_KEY: card.to_json()}

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on float32 (1, 3, H, W); return its outputs by name."""
        with torch.inference_mode():
            outputs = self.network(torch.from_numpy(pixels).to(self.device))
        return {name: value.float().cpu().numpy() for name, value in outputs.items()}


def measure_network(
    network: nn.Module, card: ModelCard, device: torch.device, scenes: Iterable[Scene]
) -> dict[str, float]:
    """Measure a network on scenes.

    Args:
        network: The network, ready for inference.
        card: What it says about itself.
        device: Where it runs.
        scenes: The held-out scenes.

    Returns:
        "mIoU", and "person PQ" if people are told apart: 0 to 1, or NaN if there was nothing to
            measure.
    """
    parser, score = (
        HumanParser(engine=TorchEngine(network, card, device)),
        Score(MeanIoU(len(card.labels))),
    )
    for scene in scenes:
        score.add(parser, scene)
    figures = {"mIoU": score.classes.mean}
    return figures if card.head == "semantic" else figures | {"person PQ": score.people.pq}
