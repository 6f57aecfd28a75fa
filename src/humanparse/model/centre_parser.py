"""CentreParser: the embedded model.

It finds classes, people's pixels and their centres in one pass. It has a MobileNetV1-0.75 backbone
(see bodypix.py), context at strides 16 and 32, a feature pyramid to stride 4, and five maps there:
class logits; the person logit; the heat map of centres; the offset from every pixel to the centre
of its person; and the evidence for each class on the whole person, whose mean over the person's
pixels is the logit that they wear it. Centres and offsets separate people as in Panoptic-DeepLab
(Cheng et al., arXiv 1911.10194).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from humanparse.model.bodypix import HEADS, MobileNetV1

STRIDE = 4  # input pixels per cell of every output map
# The unit of the offset head in input pixels, so that its outputs are of order one.
OFFSET_UNIT_PX = 64.0


class CentreParser(nn.Module):
    """Backbone → context → pyramid → heads.

    Every part is passed in, so that `centre_parser` below shows the numbers. `teacher_heads` are
    BodyPix's own heads on the same features. `segments` is part of the person output; the others
    only serve training, where they keep the backbone from forgetting what it knows about people.

    Args:
        num_classes: The number of classes, including the background.
        backbone: Features at strides 4, 8 and 16.
        context: What is seen around each cell at stride 16.
        pyramid: The way from stride 16 to stride 4.
        centre_dim: The channels before the centre head.
        wears_dim: The channels before the head of whole people's classes.
        class_rank: The rank of the convolution before the class head; None for its full rank.
        centre_rank: The rank of those before the centre head.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: MobileNetV1,
        context: Context,
        pyramid: Pyramid,
        centre_dim: int,
        wears_dim: int,
        class_rank: int | None = None,
        centre_rank: int | None = None,
    ):
        super().__init__()
        self.backbone = backbone
        self.context = context
        self.pyramid = pyramid
        dim8, dim4 = pyramid.dim8, pyramid.dim4
        self.class_features = conv_bn(dim4, dim4, 3, rank=class_rank)
        self.class_head = nn.Conv2d(dim4, num_classes, 1)
        self.person_head = nn.Conv2d(dim4, 1, 1)
        self.centre_features = nn.Sequential(
            conv_bn(dim8, centre_dim, 3, rank=centre_rank),
            conv_bn(centre_dim, centre_dim, 3, rank=centre_rank),
        )
        self.centre_head = nn.Conv2d(centre_dim, 3, 1)
        self.wears_head = nn.Sequential(
            *conv_bn(context.dim, wears_dim, 1), nn.Conv2d(wears_dim, num_classes, 1)
        )
        self.teacher_heads = nn.ModuleDict(
            {name: nn.Conv2d(384, channels, 1) for name, channels in HEADS.items()}
        )
        assert self.centre_head.bias is not None
        nn.init.constant_(self.centre_head.bias[:1], -4.0)  # centres are rare from the beginning
        _set_to_zero(self.wears_head[-1])  # no evidence at the beginning
        _set_to_zero(self.person_head)  # at the beginning the person mask is exactly BodyPix's

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Compute all maps.

        Args:
            pixels: float (B, 3, H, W) in [-1, 1]; H and W are multiples of 32.

        Returns:
            A dictionary of maps at stride 4 (h = H/4, w = W/4), and the backbone's last features:

            - classes (B, num_classes, h, w): logits
            - person (B, 1, h, w): the logit that the pixel is part of a person
            - centre (B, 1, h, w): the logit that a person's centre is here
            - offset (B, 2, h, w): (dx, dy) from the pixel to its person's centre, in input pixels
            - wears (B, num_classes, h, w): the evidence for each class on the whole person, to be
              averaged over the person
            - features16 (B, 384, H/16, W/16)
        """
        return self.maps(self.backbone(pixels))

    def maps(self, features: dict[int, Tensor]) -> dict[str, Tensor]:
        """Compute all maps from the backbone's features, by their stride; see `forward`."""
        x16 = self.context(features[16])
        x8, x4 = self.pyramid(x16, features[8], features[4])
        segments = upsample(self.teacher_heads["segments"](features[16]), 4)  # (B, 1, h, w)
        per_class = self.class_features(x4)  # (B, dim4, h, w)
        centre, offset = upsample(self.centre_head(self.centre_features(x8)), 2).split(
            (1, 2), dim=1
        )
        return {
            "classes": self.class_head(per_class),
            "person": segments + self.person_head(per_class),
            "centre": centre,
            "offset": offset * OFFSET_UNIT_PX,
            "wears": upsample(self.wears_head(x16), 4),
            "features16": features[16],
        }

    def teacher_maps(self, features16: Tensor) -> dict[str, Tensor]:
        """Apply BodyPix's heads to these features.

        Args:
            features16: (B, 384, H/16, W/16).

        Returns:
            Logits (B, C, H/16, W/16) by the name of the head.
        """
        return {name: head(features16) for name, head in self.teacher_heads.items()}


class Context(nn.Module):
    """Widens what a cell at stride 16 sees.

    It adds a deep stage, dilated depthwise blocks with residuals, and the mean of the image.

    Args:
        in_dim: The channels of the backbone's features.
        dim: The channels of the result.
        dilations: The dilation of each block.
        deep: The stage at stride 32.
    """

    def __init__(self, in_dim: int, dim: int, dilations: tuple[int, ...], deep: Deep):
        super().__init__()
        self.deep = deep
        self.reduce = conv_bn(in_dim, dim, 1)
        self.blocks = nn.ModuleList(separable(dim, 5, d) for d in dilations)
        self.image = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_dim, h, w) to (B, dim, h, w)."""
        x = self.reduce(x) + upsample(self.deep(x), 2)
        for block in self.blocks:
            x = x + block(x)
        return x + self.image(x.mean((2, 3)))[:, :, None, None]


class Deep(nn.Module):
    """A stage at stride 32, where channels are cheap and a cell sees a whole person.

    It is what separates a coat from a dress.

    Args:
        in_dim: The channels of the input.
        dim: The channels of the blocks.
        out_dim: The channels of the result.
        blocks: The number of blocks.
        rank: The rank of the pointwise convolution of each block; None for its full rank.
    """

    def __init__(self, in_dim: int, dim: int, out_dim: int, blocks: int, rank: int | None = None):
        super().__init__()
        # The middle of a kernel of 4 lies between two cells, at the middle of the larger cell.
        self.halve = nn.Sequential(
            nn.Conv2d(in_dim, in_dim, 4, 2, 1, groups=in_dim, bias=False),
            nn.BatchNorm2d(in_dim),
            *conv_bn(in_dim, dim, 1),
        )
        self.blocks = nn.ModuleList(separable(dim, 5, 1, rank=rank) for _ in range(blocks))
        self.out = nn.Conv2d(dim, out_dim, 1)
        _set_to_zero(self.out)  # adds nothing at the beginning

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_dim, h, w) with even h and w to (B, out_dim, h/2, w/2)."""
        x = self.halve(x)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x)


class Pyramid(nn.Module):
    """A top-down feature pyramid from stride 16 to stride 4: upsample, add the lateral, smooth.

    Args:
        context_dim: The channels at stride 16.
        dim8: The channels of the result at stride 8.
        dim4: The channels of the result at stride 4.
        ranks: The ranks of the convolutions that smooth at strides 8 and 4; None for full ranks.
    """

    def __init__(
        self,
        context_dim: int,
        dim8: int,
        dim4: int,
        ranks: tuple[int | None, int | None] = (None, None),
    ):
        super().__init__()
        self.top8, self.lateral8 = nn.Conv2d(context_dim, dim8, 1), nn.Conv2d(192, dim8, 1)
        self.top4, self.lateral4 = nn.Conv2d(dim8, dim4, 1), nn.Conv2d(96, dim4, 1)
        self.smooth8 = conv_bn(dim8, dim8, 3, rank=ranks[0])
        self.smooth4 = conv_bn(dim4, dim4, 3, rank=ranks[1])
        self.dim8, self.dim4 = dim8, dim4

    def forward(self, x16: Tensor, x8: Tensor, x4: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the maps at strides 8 and 4.

        Args:
            x16: (B, context_dim, H/16, W/16).
            x8: (B, 192, H/8, W/8).
            x4: (B, 96, H/4, W/4).

        Returns:
            (B, dim8, H/8, W/8) and (B, dim4, H/4, W/4).
        """
        x8 = self.smooth8(upsample(self.top8(x16), 2) + self.lateral8(x8))
        return x8, self.smooth4(upsample(self.top4(x8), 2) + self.lateral4(x4))


def centre_parser(num_classes: int = 20, low_rank: bool = True) -> CentreParser:
    """Build the network of the embedded model: 2.7 M parameters, CIHP's 20 classes.

    Args:
        num_classes: The number of classes, including the background.
        low_rank: Whether the costly convolutions have a low rank, as in the model in the package,
            or their full one (3.8 M parameters), from which training/low_rank.py makes the others.
    """
    deep_rank, class_rank, centre_rank = (96, 40, 40) if low_rank else (None, None, None)
    smooth_ranks = (56, 40) if low_rank else (None, None)
    return CentreParser(
        num_classes=num_classes,
        backbone=MobileNetV1(centred=True),
        context=Context(
            384, 160, dilations=(1, 2, 4, 2), deep=Deep(384, 512, 160, blocks=6, rank=deep_rank)
        ),
        pyramid=Pyramid(context_dim=160, dim8=112, dim4=64, ranks=smooth_ranks),
        centre_dim=64,
        wears_dim=128,
        class_rank=class_rank,
        centre_rank=centre_rank,
    )


def separable(
    dim: int, kernel: int, dilation: int, out_dim: int | None = None, rank: int | None = None
) -> nn.Sequential:
    """Build a depthwise and a pointwise convolution, each with batch norm and ReLU.

    Args:
        dim: The channels of the input.
        kernel: The side of the depthwise convolution's kernel.
        dilation: Its dilation.
        out_dim: The channels of the result; None for as many.
        rank: The rank of the pointwise convolution; None for its full rank.
    """
    return nn.Sequential(
        *conv_bn(dim, dim, kernel, dilation, groups=dim),
        *conv_bn(dim, out_dim or dim, 1, rank=rank),
    )


def conv_bn(
    in_dim: int,
    out_dim: int,
    kernel: int,
    dilation: int = 1,
    groups: int = 1,
    rank: int | None = None,
) -> nn.Sequential:
    """Build a convolution that keeps the size, with batch norm and ReLU.

    With a rank, it is a convolution to that many channels and a pointwise one from there, which
    costs the less the lower the rank is (Zhang et al., arXiv 1505.06798).
    """
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(
        in_dim,
        rank or out_dim,
        kernel,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    mix = [nn.Conv2d(rank, out_dim, 1, bias=False)] if rank else []
    for linear in (conv, *mix) if mix else ():  # what follows a pair begins as large as its input
        nn.init.kaiming_normal_(linear.weight, nonlinearity="linear")
    return nn.Sequential(conv, *mix, nn.BatchNorm2d(out_dim), nn.ReLU())


def _set_to_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Enlarge (B, C, h, w) bilinearly by a factor."""
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
