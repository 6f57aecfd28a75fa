"""Convert an M2FP checkpoint to an .onnx file that HumanParser opens without anything else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from humanparse.card import ModelCard
from humanparse.errors import BrokenModel, OptionError
from humanparse.export.checkpoint import Checkpoint, load_network, read_checkpoint
from humanparse.export.onnx import write_onnx
from humanparse.labels import CIHP, LIP, MHP_V2, PASCAL_PERSON_PART, LabelSet, label_set
from humanparse.preprocess import Preprocess

OUTPUTS = ("pred_logits", "pred_masks")
CHECK_SIZES_HW = ((320, 320), (256, 416), (416, 224), (192, 480))
TOLERANCE = 1e-3
# Where a mask logit is zero but for rounding, one engine opens the cell to a query and the other
# does not, which changes that query. A graph that is wrong, for example at sizes other than the
# traced one, changes all queries.
SHARE = 0.9
MULTI_PERSON_SETS = (CIHP, PASCAL_PERSON_PART, MHP_V2)
LICENSE = "CC-BY-NC-4.0"  # of the official checkpoints
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
MULTI_PERSON = Preprocess(MEAN, STD, short_side=640, max_long_side=1333, filter="pil-bilinear")


@dataclass(frozen=True)
class Converted:
    """What came of a conversion.

    Attributes:
        card: What the new file says about itself.
        difference: How far it differs from PyTorch, see `agreement.difference`.
    """

    card: ModelCard
    difference: float


def convert_checkpoint(
    checkpoint: str | Path,
    out: str | Path,
    *,
    labels: str | None = None,
    precision: str = "fp32",
    license: str = LICENSE,
) -> Converted:
    """Convert a checkpoint to ONNX; the file is kept only if it agrees with PyTorch.

    Args:
        checkpoint: A checkpoint file, see checkpoint.py.
        out: The .onnx file to write; it appears whole or not at all.
        labels: The name of a label set; None takes the classes of the configuration.json next to
            the checkpoint, or else the official set with as many classes.
        precision: "fp32" or "fp16", see `write_onnx`.
        license: The licence of the weights; it is stored in the file.

    Raises:
        BrokenModel: If the file is not a complete M2FP checkpoint.
        OptionError: If the labels do not fit it, or the precision is unknown.
        ModelError: If the result differs from PyTorch.
    """
    source = read_checkpoint(checkpoint)
    chosen = choose_labels(source, labels)
    size = source.builder.__name__.replace("_", "-")
    single = source.single_hw
    card = ModelCard(
        name=f"{size}-{chosen.name}",
        labels=chosen,
        head="semantic" if single else "queries",
        preprocess=Preprocess(MEAN, STD, fit_hw=single, filter="pil-bilinear")
        if single
        else MULTI_PERSON,
        license=license,
        source_sha256=source.sha256,
    )
    difference = write_onnx(
        load_network(source),
        out,
        card,
        OUTPUTS,
        check_sizes_hw=CHECK_SIZES_HW,
        tolerance=TOLERANCE,
        share=SHARE,
        precision=precision,
    )
    return Converted(card, difference)


def choose_labels(checkpoint: Checkpoint, name: str | None) -> LabelSet:
    """Return the label set of a checkpoint.

    The last class of a multi-person network is the whole person, which is not a label.

    Args:
        checkpoint: The checkpoint.
        name: The name of a label set; None takes the classes next to the checkpoint, or else the
            official set with as many classes.

    Raises:
        OptionError: If the label set has another number of classes than the checkpoint.
        BrokenModel: If nothing says what the classes are, or the configuration.json does not fit.
    """
    single = checkpoint.single_hw is not None
    parts = checkpoint.num_classes - (0 if single else 1)
    if name is not None:
        chosen = label_set(name)
        if len(chosen) != parts:
            person = "" if single else " and the whole person"
            raise OptionError(
                f"{name} has {len(chosen)} classes but {checkpoint.path} has {parts}{person}"
            )
        return chosen
    official = next(
        (one for one in ((LIP,) if single else MULTI_PERSON_SETS) if len(one) == parts), None
    )
    if checkpoint.classes is None:
        if official is None:
            raise _unknown_classes(checkpoint)
        return official
    if len(checkpoint.classes) != checkpoint.num_classes:
        raise BrokenModel(
            f"configuration.json next to {checkpoint.path} names {len(checkpoint.classes)} "
            f"classes, but the checkpoint has {checkpoint.num_classes}; give --labels, "
            "or move the file away"
        )
    names = checkpoint.classes[:parts]
    # The official files spell some names differently ("Gloves" for "Glove"), but mean the same
    # label set.
    if official and [_bare(one) for one in names] == [_bare(one) for one in official.names]:
        return official
    return LabelSet("own", names)


def _unknown_classes(checkpoint: Checkpoint) -> BrokenModel:
    count = checkpoint.num_classes
    if count == len(LIP):
        return BrokenModel(
            f"{checkpoint.path} has LIP's {count} classes; a single-person model needs its "
            "configuration.json"
        )
    return BrokenModel(
        f"{checkpoint.path} has {count} classes, which matches no official label set; list their "
        'names, with the whole person last, under "classes" in a configuration.json next to it'
    )


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "").rstrip("s")
