"""Load the weights that a run starts from: of a model file, or of our or an official checkpoint.

Every tensor is either loaded or named in what is returned; nothing is left out silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from humanparse.card import ModelCard
from humanparse.errors import BrokenModel, OptionError, UnknownModel
from humanparse.export.checkpoint import Checkpoint, read_checkpoint
from humanparse.export.m2fp import choose_labels
from humanparse.labels import LabelSet
from humanparse.model.centre_parser import CentreParser
from humanparse.training import checkpoint as checkpoints
from humanparse.weights.catalog import model_file

# Names in the file begin with this, since export/onnx.py wraps the network.
PREFIX = "network."
HALF = "_fp16"  # ends the names of weights that are stored in half the space
UNUSED = (".num_batches_tracked",)  # counters of BatchNorm that inference never reads
# These have one row per class, so their size may differ.
CLASS_LAYERS = ("class_head.", "wears_head.3.", "transformer_decoder.class_embed.")


@dataclass(frozen=True)
class Taken:
    """Which tensors were loaded, by name.

    Attributes:
        taken: Loaded from the file.
        kept: Not in the file; the network's own values stay.
        fresh: Class layers that start from random values, since the classes differ.
    """

    taken: tuple[str, ...]
    kept: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{len(self.taken)} tensors taken over"
        if self.fresh:
            names = ", ".join(self.fresh)
            text += f"; for another list of classes these start from random values: {names}"
        if self.kept:
            text += f"; not in the file, and left as they were: {', '.join(self.kept)}"
        return text


def load_init(init: str, network: nn.Module, labels: LabelSet) -> Taken:
    """Load the weights that a recipe's `init` names into a network.

    Args:
        init: The embedded model's name, an .onnx file of its kind, a checkpoint of `humanparse
            train`, or an official M2FP checkpoint.
        network: The network to change.
        labels: The network's classes. If the source has other classes, the class layers are not
            loaded.

    Raises:
        UnknownModel: For a name or file that does not exist.
        BrokenModel: For a file that does not fit; the network then stays as it was.
    """
    path = Path(init)
    if path.suffix in (".onnx", "") and not (path.is_file() and path.suffix == ""):
        return load_exported(model_file(init), network, labels)
    if not path.is_file():
        raise UnknownModel(
            f"there is no file {init!r} to start from; "
            "give an .onnx file, a checkpoint, or the name of a model"
        )
    if path.suffix != ".safetensors":
        try:
            saved = checkpoints.read(path)
        except BrokenModel:
            pass  # another kind of file; the next reader reports what is wrong with it, if anything
        else:
            return fill(network, saved.average, init, anew=saved.labels.names != labels.names)
    official = read_checkpoint(path)
    return fill(network, official.tensors, init, anew=_other_classes(official, labels))


def load_exported(path: str | Path, network: nn.Module, labels: LabelSet | None = None) -> Taken:
    """Load the weights of an .onnx file of the embedded model (fp32 or fp16) into its network,
    exactly.

    Whatever only training needs (BodyPix's other heads in the embedded model) is not in such a file
    and stays as it is in `network`, so initialise those weights first
    (`embedded.init_from_bodypix`). Class layers of another size are not loaded.

    Args:
        path: The .onnx file.
        network: The network to change.
        labels: The network's classes; None means that they are the file's.

    Raises:
        BrokenModel: For a file that is not ONNX, is int8, or is of another network; `network` then
            stays as it was.
    """
    if not isinstance(network, CentreParser):
        raise BrokenModel(
            f"M2FP cannot start from an .onnx file such as {path}, in which its tensors have lost "
            "their names; give the checkpoint (best.pt, last.pt or pytorch_model.pt) that it was "
            "made from"
        )
    tensors, theirs = exported_tensors(path)
    anew = labels is not None and theirs.names != labels.names
    return fill(network, tensors, str(path), optional=("teacher_heads.", "wears_head."), anew=anew)


def exported_tensors(path: str | Path) -> tuple[dict[str, Tensor], LabelSet]:
    """Return the weights in an .onnx file of the embedded model, and its classes.

    Returns:
        The tensors by their names in the network's state dict, and the label set.

    Raises:
        BrokenModel: For a file that is not ONNX, is int8, or has no weights under our names.
        OSError: If it cannot be read.
    """
    import onnx

    path = Path(path)
    try:
        model = onnx.load(path)
    except OSError:
        raise
    except Exception as error:  # protobuf's DecodeError and onnx's own
        raise BrokenModel(
            f"{path} is not an ONNX file that can be read ({error}); "
            "give an .onnx file written by humanparse"
        ) from error
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise BrokenModel(
            f"{path} is int8; training starts from the fp32 file that it was made from"
        )
    found = {}
    for tensor in model.graph.initializer:
        if tensor.name.startswith(PREFIX):
            name = tensor.name.removeprefix(PREFIX).removesuffix(HALF)
            found[name] = torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()).float()
    if not found:
        raise BrokenModel(
            f"{path} holds no weights under our names: it was not exported by humanparse"
        )
    for node in model.graph.node:  # equal tensors are stored once, and the others point to it
        if node.op_type == "Identity" and node.output[0].startswith(PREFIX):
            found[node.output[0].removeprefix(PREFIX)] = found[
                node.input[0].removeprefix(PREFIX)
            ].clone()
    metadata = {one.key: one.value for one in model.metadata_props}
    return found, ModelCard.from_metadata(metadata, str(path)).labels


def fill(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    where: str,
    optional: tuple[str, ...] = (),
    anew: bool = False,
) -> Taken:
    """Load tensors into the parameters of the same names, all or none.

    Args:
        network: The network to change.
        tensors: The tensors by name.
        where: Their source, for errors.
        optional: Beginnings of names that may be missing.
        anew: Whether to leave out the class layers, whatever their size.

    Raises:
        BrokenModel: If anything else is missing, unexpected, of another shape or not finite; it
            lists the tensors.
    """
    own = network.state_dict()
    given = {name: tensor for name, tensor in tensors.items() if not name.endswith(UNUSED)}
    shared = own.keys() & given.keys()
    fresh = sorted(
        name
        for name in shared
        if name.startswith(CLASS_LAYERS) and (anew or _other_rows(own[name], given[name]))
    )
    missing = [name for name in own if name not in given and not name.endswith(UNUSED)]
    problems = {
        "missing": [name for name in missing if not name.startswith(optional or ("\0",))],
        "unexpected": sorted(given.keys() - own.keys()),
        "of another shape": sorted(
            name for name in shared if own[name].shape != given[name].shape and name not in fresh
        ),
        "not finite": sorted(name for name in shared if not torch.isfinite(given[name]).all()),
    }
    if any(problems.values()):
        report = "; ".join(
            f"{len(names)} {what}, such as {names[0]}" for what, names in problems.items() if names
        )
        raise BrokenModel(f"{where} does not fit this network: {report}. Is it of another size?")
    taken = {name: given[name] for name in sorted(shared) if name not in fresh}
    network.load_state_dict(taken, strict=False)  # checked strictly above
    return Taken(tuple(taken), tuple(missing), tuple(fresh))


def _other_classes(official: Checkpoint, labels: LabelSet) -> bool:
    """Whether an official checkpoint's classes are known to be different."""
    try:
        return choose_labels(official, None).names != labels.names
    # Then nothing says what they are; another number of classes shows in the size of the layers.
    except (BrokenModel, OptionError):
        return False


def _other_rows(own: Tensor, given: Tensor) -> bool:
    return own.shape != given.shape and own.shape[1:] == given.shape[1:]
