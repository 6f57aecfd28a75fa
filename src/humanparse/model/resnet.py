"""ResNet-50 and -101 with the DeepLab stem: four feature maps at strides 4 to 32.

Residual networks: He et al., arXiv 1512.03385. Three 3×3 convolutions at the start instead of one
7×7: DeepLab (Chen et al., arXiv 1706.05587). As in torchvision and detectron2 since then, the 3×3
convolution of a block does the halving.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # in res2, res3, res4, res5


class ResNet(nn.Module):
    """res2…res5 with 256, 512, 1024 and 2048 channels at strides 4, 8, 16 and 32.

    Args:
        depth: 50 or 101.
        width: The channels of the stem; fewer than 64 make everything narrower, for tests.
    """

    def __init__(self, depth: int, width: int = 64):
        super().__init__()
        self.stem = Stem(width, 2 * width)
        self.channels = tuple(width * 4 * 2**stage for stage in range(4))
        stages: list[nn.Sequential] = []
        in_dim = 2 * width
        for out_dim, blocks, stride in zip(self.channels, BLOCKS[depth], (1, 2, 2, 2), strict=True):
            first = Bottleneck(in_dim, out_dim, stride)
            stages.append(
                nn.Sequential(first, *(Bottleneck(out_dim, out_dim, 1) for _ in range(blocks - 1)))
            )
            in_dim = out_dim
        self.res2, self.res3, self.res4, self.res5 = stages

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the feature maps.

        Args:
            pixels: (B, 3, H, W); H and W are multiples of 32.

        Returns:
            res2, res3, res4 and res5, at strides 4, 8, 16 and 32.
        """
        res2 = self.res2(self.stem(pixels))
        res3 = self.res3(res2)
        res4 = self.res4(res3)
        return res2, res3, res4, self.res5(res4)


class Stem(nn.Module):
    """Three 3×3 convolutions, the first of which halves the size, and a pool that halves it again.

    Args:
        dim: The channels of the first two convolutions.
        out_dim: The channels of the third.
    """

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.conv1 = ConvNorm(3, dim, 3, nn.BatchNorm2d(dim), stride=2)
        self.conv2 = ConvNorm(dim, dim, 3, nn.BatchNorm2d(dim))
        self.conv3 = ConvNorm(dim, out_dim, 3, nn.BatchNorm2d(out_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, out_dim, H/4, W/4)."""
        x = F.relu(self.conv1(pixels))
        x = F.relu(self.conv2(x))
        x = F.relu(self.conv3(x))
        return F.max_pool2d(x, 3, stride=2, padding=1)


class Bottleneck(nn.Module):
    """1×1 to a quarter of the channels, 3×3, 1×1 back, and a shortcut around them.

    Args:
        in_dim: The channels of the input.
        out_dim: The channels of the result.
        stride: The stride of the 3×3 convolution.
    """

    def __init__(self, in_dim: int, out_dim: int, stride: int):
        super().__init__()
        dim = out_dim // 4
        self.shortcut = (
            ConvNorm(in_dim, out_dim, 1, nn.BatchNorm2d(out_dim), stride)
            if in_dim != out_dim
            else nn.Identity()
        )
        self.conv1 = ConvNorm(in_dim, dim, 1, nn.BatchNorm2d(dim))
        self.conv2 = ConvNorm(dim, dim, 3, nn.BatchNorm2d(dim), stride)
        self.conv3 = ConvNorm(dim, out_dim, 1, nn.BatchNorm2d(out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_dim, h, w) to (B, out_dim, h/stride, w/stride)."""
        y = F.relu(self.conv1(x))
        y = F.relu(self.conv2(y))
        return F.relu(self.conv3(y) + self.shortcut(x))


class ConvNorm(nn.Conv2d):
    """A convolution without bias that holds its norm, so that a checkpoint has both under one name.

    Args:
        in_dim: The channels of the input.
        out_dim: The channels of the result.
        kernel: The side of the kernel.
        norm: The norm after the convolution.
        stride: The stride of the convolution.
    """

    def __init__(self, in_dim: int, out_dim: int, kernel: int, norm: nn.Module, stride: int = 1):
        super().__init__(in_dim, out_dim, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution, then the norm."""
        return self.norm(super().forward(x))
