"""An M2FP checkpoint → an .onnx file with which `HumanParser("model.onnx")` needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from humanparse.card import ModelCard
from humanparse.errors import BrokenModel, OptionError
from humanparse.export.checkpoint import Checkpoint, load_network, read_checkpoint
from humanparse.export.onnx import export
from humanparse.labels import CIHP, LIP, MHP_V2, PASCAL_PERSON_PART, LabelSet, label_set
from humanparse.preprocess import Preprocess

OUTPUTS = ("pred_logits", "pred_masks")
CHECK_SIZES_HW = ((320, 320), (256, 416), (416, 224), (192, 480))
TOLERANCE = 1e-3
# A mask logit within rounding of zero opens a cell to a query in one engine and not in the other,
# and moves that query. A graph that is wrong, for example at sizes other than the traced one, moves
# them all.
SHARE = 0.9
MULTI_PERSON_SETS = (CIHP, PASCAL_PERSON_PART, MHP_V2)
LICENSE = "CC-BY-NC-4.0"  # of the official checkpoints
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
MULTI_PERSON = Preprocess(MEAN, STD, short_side=640, max_long_side=1333, filter="pil-bilinear")


@dataclass(frozen=True)
class Converted:
    """card: what the new file says of itself. difference: between it and PyTorch, see
    `export.difference`."""

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
    """Convert a checkpoint file (see checkpoint.py) to ONNX, check the result against PyTorch, and
    only then keep it.

    labels: name of a label set; None takes the classes of the configuration.json beside the
    checkpoint, or else the official set with as many classes. precision: see `export`. license: of
    the weights; it travels inside the file. Raises BrokenModel for a file that is not a whole M2FP
    checkpoint, OptionError for labels that do not fit it.
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
    difference = export(
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
    """The label set of that name, or of the classes beside the checkpoint, or the official one with
    as many classes.

    The last class of a multi-person network is the whole person, which is not a label. Raises
    OptionError if the counts differ.
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
            f"configuration.json beside {checkpoint.path} names {len(checkpoint.classes)} classes, but the checkpoint has "
            f"{checkpoint.num_classes}; say --labels, or move the file away"
        )
    names = checkpoint.classes[:parts]
    # The official files spell some names otherwise ("Gloves" for "Glove"): the same classes are the
    # same label set.
    if official and [_bare(one) for one in names] == [_bare(one) for one in official.names]:
        return official
    return LabelSet("own", names)


def _unknown_classes(checkpoint: Checkpoint) -> BrokenModel:
    count = checkpoint.num_classes
    if count == len(LIP):
        return BrokenModel(
            f"{checkpoint.path} has LIP's {count} classes; a single-person model needs its configuration.json"
        )
    return BrokenModel(
        f"{checkpoint.path} has {count} classes, as no official set; put their names, with the whole person last, as "
        '"classes" into a configuration.json beside it'
    )


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "").rstrip("s")
