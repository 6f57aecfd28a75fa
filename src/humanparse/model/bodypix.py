"""BodyPix: the MobileNetV1-0.75 person network from which the embedded model starts and learns.

It has 27 convolutions (one 3x3, then depthwise 3x3 and pointwise 1x1 in turn) to output stride 16,
with ReLU6 after each and batch norm folded in. Its heads are 1x1 convolutions. Input:
RGB / 127.5 - 1. Source: google-coral/project-bodypix (Apache-2.0), de-quantised; `load_bodypix`
describes the layout of the weights file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The heads from which we distil: name → channels.
HEADS = {"segments": 1, "part_heatmaps": 24, "heatmaps": 17}
STRIDE_TWO = (0, 3, 7, 11)  # the convolutions that halve the size


class MobileNetV1(nn.Module):
    """MobileNetV1-0.75 to stride 16, as in BodyPix.

    The convolutions have bias and ReLU6, and no batch norm.

    Args:
        centred: False pads every convolution by one pixel on each side, as BodyPix was trained, on
            inputs of 16n+1 pixels; feature cell i is then centred on pixel 16i. True pads alternate
            sides at every second halving, so that on inputs of 16n pixels cell i is centred on
            pixel 16i+10, within 2.5 pixels of the middle of its square (16i+7.5): features of all
            strides can be resized onto each other without a shift.
    """

    def __init__(self, centred: bool):
        super().__init__()
        self.centred = centred
        self.body = nn.ModuleList()
        channels = 3
        for index, (out, groups) in enumerate(_convolutions()):
            kernel = 3 if index == 0 or groups > 1 else 1
            stride = 2 if index in STRIDE_TWO else 1
            # Convolutions that halve the size are padded in `forward`.
            padding = 0 if stride == 2 else kernel // 2
            self.body.append(nn.Conv2d(channels, out, kernel, stride, padding, groups=groups))
            channels = out

    def forward(self, pixels: Tensor) -> dict[int, Tensor]:
        """Compute the last feature map at each stride.

        Args:
            pixels: float (B, 3, H, W) in [-1, 1].

        Returns:
            The maps at strides 4, 8 and 16, with 96, 192 and 384 channels.
        """
        features = {}
        stride = 1
        x = pixels
        for index, conv in enumerate(self.body):
            if index in STRIDE_TWO:
                features[stride] = x
                one_sided = self.centred and stride in (2, 8)
                x = F.pad(x, (0, 1, 0, 1) if one_sided else (1, 1, 1, 1))
                stride *= 2
            x = F.relu6(conv(x))
        features[stride] = x  # (B, 384, H/16, W/16)
        return {s: features[s] for s in (4, 8, 16)}


class BodyPix(nn.Module):
    """The teacher: a backbone and the heads of `HEADS`, as logits at stride 16.

    Args:
        centred: See MobileNetV1.
    """

    def __init__(self, centred: bool = False):
        super().__init__()
        self.backbone = MobileNetV1(centred)
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(384, channels, 1) for name, channels in HEADS.items()}
        )

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Compute a logit map for each head.

        Args:
            pixels: float (B, 3, H, W) in [-1, 1].

        Returns:
            (B, C, H/16, W/16) by the name of the head.
        """
        features = self.backbone(pixels)[16]
        return {name: head(features) for name, head in self.heads.items()}


def load_bodypix(path: Path | str, centred: bool = False) -> BodyPix:
    """Build BodyPix with the weights of an .npz file.

    Its keys are `body__N__weight|bias` and `heads__NAME__weight|bias`.

    Args:
        path: The .npz file.
        centred: See MobileNetV1.

    Raises:
        KeyError: If a key is missing.
        RuntimeError: If a shape differs.
    """
    model = BodyPix(centred)
    with np.load(path) as arrays:
        state = {
            name: torch.from_numpy(arrays[_npz_key(name)].astype(np.float32))
            for name in model.state_dict()
        }
    model.load_state_dict(state)
    return model


def _npz_key(name: str) -> str:
    """`backbone.body.3.weight` → `body__3__weight`; `heads.segments.bias` →
    `heads__segments__bias`."""
    return name.removeprefix("backbone.").replace(".", "__")


def _convolutions() -> list[tuple[int, int]]:
    """Return (output channels, groups) of the 27 convolutions."""
    layers = [(24, 1)]
    channels = 24
    for out in (48, 96, 96, 192, 192, 384, 384, 384, 384, 384, 384, 384, 384):
        layers += [(channels, channels), (out, 1)]  # depthwise, pointwise
        channels = out
    return layers
