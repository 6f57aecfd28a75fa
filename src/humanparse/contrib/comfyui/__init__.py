"""A node for ComfyUI: a picture and a region in, a mask out.

ComfyUI imports this folder from its own `custom_nodes`; docs/hosts.md says how to link it there.
humanparse must be installed in ComfyUI's Python. Nothing is compiled, and PyTorch is ComfyUI's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from humanparse.labels import CIHP
from humanparse.parser import HumanParser
from humanparse.regions import EVERYBODY, Region, presets, select
from humanparse.result import Parsing

if TYPE_CHECKING:
    import torch

MOST_PEOPLE = 100  # the largest number of a person


class HumanParseMask:
    """The node: masks of a region in each picture of a batch."""

    CATEGORY = "mask/humanparse"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "mask"
    DESCRIPTION = "Masks of people, body parts and garments."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:
        """Return the node's inputs, as ComfyUI asks for them."""
        words = {
            "preset": "What the mask covers.",
            "person": "Whose it is: 1 for the person found most surely, 0 for everybody.",
            "region": "Instead of the preset, such as: person - face grow=2% (see docs/edit.md).",
        }
        return {
            "required": {
                "image": ("IMAGE",),
                "preset": ([EVERYBODY, *presets(CIHP)], {"tooltip": words["preset"]}),
                "person": (
                    "INT",
                    {"default": 0, "min": 0, "max": MOST_PEOPLE, "tooltip": words["person"]},
                ),
            },
            "optional": {"region": ("STRING", {"default": "", "tooltip": words["region"]})},
        }

    def mask(
        self, image: torch.Tensor, preset: str, person: int = 0, region: str = ""
    ) -> tuple[torch.Tensor]:
        """Return the mask of each picture.

        Args:
            image: float (B, H, W, 3), 0 to 1.
            preset: A preset, if there is no region.
            person: A person's number, or 0 for everybody. Terms of the region that name people
                themselves keep them.
            region: A region as docs/edit.md describes it; "" for the preset.

        Returns:
            float32 (B, H, W), 0 to 1; all 0 where a picture has no such person.

        Raises:
            OptionError: There is no such region.
        """
        import torch

        wanted = Region.parse(region.strip() or preset)
        pictures = np.clip(np.asarray(image.cpu())[..., :3] * 255 + 0.5, 0, 255).astype(np.uint8)
        masks = [_mask(_parser().parse(one), wanted, person) for one in pictures]
        return (torch.from_numpy(np.stack(masks)),)


def _mask(parsing: Parsing, region: Region, person: int) -> np.ndarray:
    """float32 (H, W): how much of each pixel belongs to the region."""
    terms = tuple(
        replace(term, people=(person,)) if person and not term.people else term
        for term in region.terms
    )
    named = [number for term in terms for number in term.people]
    if max(named, default=0) > len(parsing.people):
        return np.zeros(parsing.size_hw, np.float32)
    return select(parsing, replace(region, terms=terms)).alpha.astype(np.float32) / 255


@cache
def _parser() -> HumanParser:
    return HumanParser()


NODE_CLASS_MAPPINGS = {"HumanParseMask": HumanParseMask}
NODE_DISPLAY_NAME_MAPPINGS = {"HumanParseMask": "Human parts mask (humanparse)"}
