"""What a run starts from: a model file of ours, a checkpoint of ours, or an official M2FP
checkpoint, put into a network.

Every tensor is either taken over or named in what comes back; nothing is left out in silence.
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

# what export/onnx.py wraps a network in, so that its tensors' names in the file begin with it
PREFIX = "network."
HALF = "_fp16"  # what it adds to the names of weights that are stored in half the space
UNUSED = (".num_batches_tracked",)  # counters of BatchNorm that inference never reads
# one row a class: may change their size
CLASS_LAYERS = ("class_head.", "wears_head.3.", "transformer_decoder.class_embed.")


@dataclass(frozen=True)
class Taken:
    """What came of it, by tensor name. kept: the network's own values stay, since the file has
    none. fresh: class layers that start anew, for other classes."""

    taken: tuple[str, ...]
    kept: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{len(self.taken)} tensors taken over"
        if self.fresh:
            text += f"; for another list of classes these start anew: {', '.join(self.fresh)}"
        if self.kept:
            text += f"; not in the file, and left as they were: {', '.join(self.kept)}"
        return text


def load_init(start: str, network: nn.Module, labels: LabelSet) -> Taken:
    """Put into the network what `start` names: the embedded model by name, an .onnx file of its
    kind, a checkpoint of `humanparse train`, or an official M2FP checkpoint.

    labels: the network's classes. If the source's are others, the class layers start anew. Raises
    UnknownModel for a name or file that is not there, BrokenModel for a file that does not fit.
    """
    path = Path(start)
    if path.suffix in (".onnx", "") and not (path.is_file() and path.suffix == ""):
        return load_exported(model_file(start), network, labels)
    if not path.is_file():
        raise UnknownModel(
            f"there is no file {start!r} to start from; give an .onnx file, a checkpoint, or the name of a model"
        )
    if path.suffix != ".safetensors":
        try:
            saved = checkpoints.read(path)
        except BrokenModel:
            pass  # not ours: the next reader says what is wrong with it, if anything is
        else:
            return fill(network, saved.average, start, anew=saved.labels.names != labels.names)
    official = read_checkpoint(path)
    return fill(network, official.tensors, start, anew=_other_classes(official, labels))


def load_exported(path: str | Path, network: nn.Module, labels: LabelSet | None = None) -> Taken:
    """Put the weights of an .onnx file of the embedded model (fp32 or fp16) into its network, bit
    by bit.

    labels: the network's classes; None trusts that they are the file's.

    What serves training alone (BodyPix's other heads in the embedded model) is not in such a file:
    it stays as it is in `network`, so give it those weights first (`loop.start_from`). Class layers
    of another size start anew. Raises BrokenModel for a file that is not ONNX, is int8, or is of
    another network; `network` is then as it was.
    """
    if not isinstance(network, CentreParser):
        raise BrokenModel(
            f"M2FP cannot start from an .onnx file such as {path}, in which its tensors have lost their names; give the "
            "checkpoint (best.pt, last.pt or pytorch_model.pt) that it was made from"
        )
    tensors, theirs = exported_tensors(path)
    anew = labels is not None and theirs.names != labels.names
    return fill(network, tensors, str(path), optional=("teacher_heads.", "wears_head."), anew=anew)


def exported_tensors(path: str | Path) -> tuple[dict[str, Tensor], LabelSet]:
    """The weights of an .onnx file of the embedded model by the names of the network's state dict,
    and its classes."""
    import onnx

    path = Path(path)
    try:
        model = onnx.load(path)
    except OSError:
        raise
    except Exception as error:  # protobuf's DecodeError and onnx's own
        raise BrokenModel(
            f"{path} is not an ONNX file that can be read ({error}); give an .onnx file of humanparse"
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
            f"{path} holds no weights under names of ours: it was not exported by humanparse"
        )
    for node in model.graph.node:  # of equal tensors one is stored, and the others point to it
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
    """Put tensors into the network's places of the same names, all or none. `where` names their
    source in errors.

    optional: beginnings of names that may be missing. anew: class layers are left out, whatever
    their size. Raises BrokenModel with a list if anything else is missing, left over, of another
    shape, or not finite.
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
        told = "; ".join(
            f"{len(names)} {what}, such as {names[0]}" for what, names in problems.items() if names
        )
        raise BrokenModel(f"{where} does not fit this network: {told}. Is it of another size?")
    taken = {name: given[name] for name in sorted(shared) if name not in fresh}
    network.load_state_dict(taken, strict=False)  # strictly checked above
    return Taken(tuple(taken), tuple(missing), tuple(fresh))


def _other_classes(official: Checkpoint, labels: LabelSet) -> bool:
    """Whether an official checkpoint's classes are known to be others."""
    try:
        return choose_labels(official, None).names != labels.names
    # nobody says what they are; another number of them is seen by the layers' size
    except (BrokenModel, OptionError):
        return False


def _other_rows(own: Tensor, given: Tensor) -> bool:
    return own.shape != given.shape and own.shape[1:] == given.shape[1:]
