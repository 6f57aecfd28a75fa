"""contrib/comfyui: the folder is loaded as ComfyUI loads its custom nodes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing
from stand_in import StandIn

import humanparse
from humanparse.errors import OptionError

FOLDER = Path(humanparse.__file__).parent / "contrib/comfyui"
FACE = (made_up_parsing().label_map == 13) * 1.0


@pytest.fixture
def nodes(monkeypatch):
    """As `load_custom_node` of ComfyUI's nodes.py does it."""
    spec = importlib.util.spec_from_file_location("custom_nodes_humanparse", FOLDER / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "custom_nodes_humanparse", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "_parser", StandIn)
    return module


def test_the_folder_has_what_comfyui_looks_for(nodes):
    assert set(nodes.NODE_CLASS_MAPPINGS) == set(nodes.NODE_DISPLAY_NAME_MAPPINGS)
    for kind in nodes.NODE_CLASS_MAPPINGS.values():
        inputs = kind.INPUT_TYPES()
        assert inputs["required"]["image"] == ("IMAGE",)
        assert inputs["required"]["preset"][0][:2] == ["person", "face"]
        assert callable(getattr(kind(), kind.FUNCTION)) and kind.RETURN_TYPES == ("MASK",)


def masks(nodes, batch: int = 1, **inputs) -> np.ndarray:
    torch = pytest.importorskip("torch")
    pixels = np.stack([made_up_parsing().image] * batch).astype(np.float32) / 255
    node = nodes.NODE_CLASS_MAPPINGS["HumanParseMask"]()
    (mask,) = getattr(node, node.FUNCTION)(image=torch.from_numpy(pixels), **inputs)
    assert mask.dtype == torch.float32 and mask.shape == (batch, 120, 160)
    return mask.numpy()


def test_a_batch_of_pictures_becomes_masks(nodes):
    people = made_up_parsing().person_map
    assert np.array_equal(masks(nodes, 2, preset="face", person=0)[1], FACE)
    assert np.array_equal(masks(nodes, preset="face", person=2)[0], FACE * (people == 2))
    assert np.array_equal(masks(nodes, preset="person", person=1)[0], people == 1)


def test_a_region_goes_before_the_preset(nodes):
    people = made_up_parsing().person_map
    found = masks(nodes, preset="hair", person=1, region="person - face")[0]
    assert np.array_equal(found, (people == 1) * (1 - FACE))
    assert np.array_equal(
        masks(nodes, preset="hair", person=1, region="face:2")[0], FACE * (people == 2)
    )
    soft = masks(nodes, preset="hair", person=0, region="face feather=5")[0]
    assert 0 < soft[(soft > 0) & (soft < 1)].mean() < 1
    with pytest.raises(OptionError, match="no region 'nose'"):
        masks(nodes, preset="face", region="nose")


def test_where_a_person_is_not_there_the_mask_is_empty(nodes, monkeypatch):
    assert not masks(nodes, preset="face", person=3).any()
    assert not masks(nodes, preset="face", person=3, region="person invert").any()
    monkeypatch.setattr(StandIn, "parse", lambda self, image: empty_parsing())
    assert not masks(nodes, preset="face").any()
