"""M2FP turns a photo into a hundred masks, each of a body part, a person, or nothing.

Yang et al., "Deep Learning Technique for Human Parsing: A Survey and Outlook", arXiv 2301.00394:
Mask2Former (Cheng et al., arXiv 2112.01527) whose queries predict the background, part instances
and people side by side.

    pixels ─ ResNet ─ res2…res5 ─ PixelDecoder ─ mask features, 3 levels
           ─ TransformerDecoder ─ classes and masks
"""

from __future__ import annotations

from torch import Tensor, nn

from humanparse.model.pixel_decoder import PixelDecoder
from humanparse.model.resnet import ResNet
from humanparse.model.transformer_decoder import TransformerDecoder


class M2FP(nn.Module):
    """Backbone → pixel decoder → transformer decoder; every part is passed in.

    Args:
        backbone: Features at strides 4, 8, 16 and 32.
        pixel_decoder: Mask features at stride 4, and three levels for the queries.
        transformer_decoder: The queries.
    """

    def __init__(
        self, backbone: ResNet, pixel_decoder: PixelDecoder, transformer_decoder: TransformerDecoder
    ):
        super().__init__()
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder
        self.transformer_decoder = transformer_decoder

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Compute the classes and masks of all queries.

        Args:
            pixels: float (B, 3, H, W), normalised RGB; H and W are multiples of 32.

        Returns:
            With Q queries:

            - pred_logits (B, Q, num_classes + 1): class logits, "no object" last
            - pred_masks (B, Q, H/4, W/4): mask logits, positive inside
            - earlier, in training mode only: a list of such pairs, one before each layer of the
              transformer decoder
        """
        mask_features, levels = self.pixel_decoder(self.backbone(pixels))
        return self.transformer_decoder(mask_features, levels)


def m2fp_r101(num_classes: int = 21) -> M2FP:
    """Build M2FP with a ResNet-101, 63 M parameters: the size of the official checkpoints.

    Args:
        num_classes: The number of classes; 21 are CIHP's 20 classes plus the whole person.
    """
    return _m2fp(ResNet(depth=101), num_classes)


def m2fp_r50(num_classes: int = 21) -> M2FP:
    """Build M2FP with a ResNet-50, 44 M parameters."""
    return _m2fp(ResNet(depth=50), num_classes)


def m2fp_tiny(num_classes: int = 21) -> M2FP:
    """Build the same network on a small scale, 0.5 M parameters.

    It is for tests: there are no weights for it.
    """
    backbone = ResNet(depth=50, width=8)
    return M2FP(
        backbone=backbone,
        pixel_decoder=PixelDecoder(
            backbone.channels, dim=32, num_layers=2, num_heads=4, ffn_dim=64
        ),
        transformer_decoder=TransformerDecoder(
            num_classes, dim=32, num_queries=20, num_layers=4, num_heads=4, ffn_dim=64
        ),
    )


def _m2fp(backbone: ResNet, num_classes: int) -> M2FP:
    return M2FP(
        backbone=backbone,
        pixel_decoder=PixelDecoder(
            backbone.channels, dim=256, num_layers=6, num_heads=8, ffn_dim=1024
        ),
        transformer_decoder=TransformerDecoder(
            num_classes, dim=256, num_queries=100, num_layers=9, num_heads=8, ffn_dim=2048
        ),
    )
