"""Load M2FP checkpoints from elsewhere into our network, or say why one does not fit.

Three formats are read: ModelScope's and detectron2's (both a PyTorch file of {"model": tensors},
often with an optimiser's state, which is ignored), and safetensors. A PyTorch file is a pickle,
which could run code: it is always opened with `weights_only=True`, so reading stops at anything but
tensors, numbers and texts.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from humanparse.errors import BrokenModel
from humanparse.model.m2fp import M2FP, m2fp_r50, m2fp_r101, m2fp_tiny
from humanparse.system.files import sha256_of, whole_file

# Where our names differ from those of the official checkpoints, in the order of the replacements.
RENAMES = (
    # here the head is not a module
    (r"^sem_seg_head\.pixel_decoder\.", "pixel_decoder."),
    # "predictor" means the transformer decoder
    (r"^sem_seg_head\.predictor\.", "transformer_decoder."),
    # nor are the encoder's two wrappers
    (r"^pixel_decoder\.transformer\.(encoder\.)?", "pixel_decoder."),
    # the 1×1 and 3×3 convolutions of the pyramid step to stride 4
    (r"^pixel_decoder\.adapter_1\.", "pixel_decoder.lateral."),
    (r"^pixel_decoder\.layer_1\.", "pixel_decoder.smooth."),
    # three lists, each with a third of every layer, are one list of layers here
    (r"\.transformer_cross_attention_layers\.(\d+)\.multihead_attn\.", r".layers.\1.cross_attn."),
    (r"\.transformer_cross_attention_layers\.(\d+)\.norm\.", r".layers.\1.cross_norm."),
    (r"\.transformer_self_attention_layers\.(\d+)\.norm\.", r".layers.\1.self_norm."),
    (r"\.transformer_self_attention_layers\.(\d+)\.", r".layers.\1."),
    (r"\.transformer_ffn_layers\.(\d+)\.norm\.", r".layers.\1.ffn_norm."),
    (r"\.transformer_ffn_layers\.(\d+)\.", r".layers.\1."),
)
# In the file, but not part of the network: the training loss, the normalisation of pixels (ours is
# in the model card), and a counter of BatchNorm that inference never reads.
LEFT_BEHIND = re.compile(r"^criterion\.|^pixel_(mean|std)$|\.num_batches_tracked$")
# The builder for (residual blocks in res4, channels of the stem).
BUILDERS = {(23, 64): m2fp_r101, (6, 64): m2fp_r50, (6, 8): m2fp_tiny}


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint, and what the configuration.json next to it says.

    Attributes:
        path: The file.
        sha256: Its checksum.
        tensors: The tensors by our names.
        official: Our names → the file's names.
        classes: Names of the classes; None if there is no configuration.json.
        single_hw: For single-person models, the height and width that photos are fitted into; None
            for other models.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]
    official: Mapping[str, str]
    classes: tuple[str, ...] | None
    single_hw: tuple[int, int] | None

    @property
    def num_classes(self) -> int:
        """The number of classes, without "no object", the last row of the class head."""
        return len(self._tensor("transformer_decoder.class_embed.weight")) - 1

    @property
    def builder(self) -> Callable[[int], M2FP]:
        """The function of model/m2fp.py that builds a network of this checkpoint's size."""
        blocks = {name.split(".")[2] for name in self.tensors if name.startswith("backbone.res4.")}
        size = len(blocks), len(self._tensor("backbone.stem.conv1.weight"))
        if size not in BUILDERS:
            raise BrokenModel(
                f"{self.path} has a backbone of {size[0]} blocks in res4 and {size[1]} channels "
                "in the stem, but only ResNet-50 (6 and 64) and ResNet-101 (23 and 64) can be "
                "converted"
            )
        return BUILDERS[size]

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors or self.tensors[name].ndim == 0:
            raise BrokenModel(f"{self.path} has no tensor {name}: it is not an M2FP checkpoint")
        return self.tensors[name]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint file.

    Args:
        path: A .pt, .pth or .bin file of PyTorch, or a .safetensors file.

    Raises:
        BrokenModel: If it holds anything but tensors.
        OSError: If it cannot be read.
    """
    path = Path(path)
    sha256 = sha256_of(path)
    state = _state(
        _read_safetensors(path) if path.suffix == ".safetensors" else _read_pytorch(path), path
    )
    official = {our_name(name): name for name in state}
    official = {name: theirs for name, theirs in official.items() if not LEFT_BEHIND.search(name)}
    tensors = {name: state[theirs] for name, theirs in official.items()}
    return Checkpoint(path, sha256, tensors, official, *_configuration_beside(path))


def save_safetensors(checkpoint: str | Path, out: str | Path, license: str) -> Path:
    """Write a checkpoint's tensors, without the optimiser's, as a .safetensors file.

    That file is smaller and cannot contain code. The tensors keep their official names, so
    `read_checkpoint` reads it.

    Args:
        checkpoint: The checkpoint file.
        out: The .safetensors file to write; nothing is written if the checkpoint is not complete.
        license: The licence of the weights; it is stored in the file.

    Returns:
        `out` as a Path.

    Raises:
        BrokenModel: As `read_checkpoint` and `load_network` raise it.
        OSError: If the checkpoint cannot be read.
    """
    out, source = Path(out), read_checkpoint(checkpoint)
    load_network(source)
    tensors = {
        source.official[name]: tensor.contiguous() for name, tensor in source.tensors.items()
    }
    with whole_file(out) as part:
        safetensors.torch.save_file(
            tensors, part, {"license": license, "source_sha256": source.sha256}
        )
    return out


def load_network(checkpoint: Checkpoint) -> M2FP:
    """Build the network of a checkpoint and load all its tensors, ready for inference.

    Raises:
        BrokenModel: If tensors are missing, unexpected, of another shape or not finite; it lists
            them.
    """
    network = checkpoint.builder(checkpoint.num_classes).eval()
    wanted = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not LEFT_BEHIND.search(name)
    }
    given = checkpoint.tensors
    shared = wanted.keys() & given.keys()
    problems = {
        "missing": sorted(wanted.keys() - given.keys()),
        "unexpected": sorted(given.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in sorted(shared)
            if given[name].shape != wanted[name].shape
        ],
        "not finite": [name for name in sorted(shared) if not torch.isfinite(given[name]).all()],
    }
    if any(problems.values()):
        report = "; ".join(
            f"{len(names)} {what}: {_some(names)}" for what, names in problems.items() if names
        )
        raise BrokenModel(
            f"{checkpoint.path} does not fit {checkpoint.builder.__name__}. {report}. "
            "Nothing was converted"
        )
    # Checked strictly above; BatchNorm's counters stay zero.
    network.load_state_dict(given, strict=False)
    return network


def our_name(official: str) -> str:
    """Return what humanparse.model calls a tensor of the official checkpoints."""
    name = official.removeprefix("module.")  # added by training on several GPUs
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _read_safetensors(path: Path) -> Mapping:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # SafetensorError, and others for impossible sizes
        raise BrokenModel(
            f"{path} is not a safetensors file, or is damaged ({error}); get it again"
        ) from error


def _read_pytorch(path: Path) -> Mapping:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise BrokenModel(
                f"{path} holds more than tensors ({found[1]}), which might run code when loaded; "
                "nothing in it was run. Get the checkpoint from its authors, or have its tensors "
                "saved as .safetensors"
            ) from error
        raise BrokenModel(
            f"{path} is not a PyTorch checkpoint, or is damaged; get it again"
        ) from error
    except Exception as error:  # PyTorch raises errors of many kinds for damaged archives
        raise BrokenModel(
            f"{path} is not a PyTorch checkpoint, or is incomplete; get it again"
        ) from error


def _state(content: object, path: Path) -> Mapping[str, Tensor]:
    """The tensors by official name: those of "model", of "state_dict", or of the whole file."""
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise BrokenModel(f"{path} holds no named tensors: it is not an M2FP checkpoint")
    if strangers := [
        str(name)
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]:
        raise BrokenModel(
            f"{path} holds things that are not tensors: {_some(strangers)}; "
            "expected {'model': tensors}"
        )
    return content


def _configuration_beside(path: Path) -> tuple[tuple[str, ...] | None, tuple[int, int] | None]:
    """`classes` and `single_hw` of the configuration.json next to the checkpoint, None if unset."""
    file = path.parent / "configuration.json"
    if not file.is_file():
        return None, None
    try:
        configuration = json.loads(file.read_bytes())
        model = configuration.get("model", {})
        classes = model.get("classes", configuration.get("classes"))
        if classes is not None and not (
            isinstance(classes, list) and all(isinstance(name, str) for name in classes)
        ):
            raise ValueError("'classes' is not a list of names")
        single = model.get("input_single_human") if model.get("single_human", True) else None
        width, height = (int(side) for side in single["sizes"][0]) if single else (0, 0)
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise BrokenModel(
            f"{file} next to the checkpoint cannot be read ({error!r}); repair it, or move it away"
        ) from error
    return tuple(classes) if classes else None, (height, width) if single else None


def _some(names: Iterable[str], limit: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:limit]) + (
        f" and {len(names) - limit} more" if len(names) > limit else ""
    )
