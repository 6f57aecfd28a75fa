"""How good the weights are now: the network as PyTorch has it, run as an engine of HumanParser on
held-out scenes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.evaluation.mean_iou import MeanIoU
from humanparse.parser import HumanParser
from humanparse.training.scenes import Scene
from humanparse.training.validate import Score


class TorchEngine:
    """An engine that runs a network of PyTorch, in fp32. `network` must be ready for inference."""

    def __init__(self, network: nn.Module, card: ModelCard, device: torch.device):
        self.network, self.device = network, device
        self.metadata = {METADATA_KEY: card.to_json()}

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            outputs = self.network(torch.from_numpy(pixels).to(self.device))
        return {name: value.float().cpu().numpy() for name, value in outputs.items()}


def measure_network(
    network: nn.Module, card: ModelCard, device: torch.device, scenes: Iterable[Scene]
) -> dict[str, float]:
    """`mIoU`, and where people are told apart `person PQ`, of the network on the scenes. Both 0 to
    1, or NaN of nothing."""
    parser, score = (
        HumanParser(engine=TorchEngine(network, card, device)),
        Score(MeanIoU(len(card.labels))),
    )
    for scene in scenes:
        score.add(parser, scene)
    figures = {"mIoU": score.classes.mean}
    return figures if card.head == "semantic" else figures | {"person PQ": score.people.pq}
