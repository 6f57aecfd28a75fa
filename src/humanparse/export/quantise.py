"""A model file in fp32 → the same model in int8: weights and activations in eight bits where that
does no harm.

By NNCF's post-training quantisation (extra: quantize): photos go through the model once, and the
ranges of what is seen become the scales. ONNX Runtime's own quantiser lost a third of the embedded
model's mIoU, NNCF's nothing to speak of (docs/speed-network.md). The file stays ONNX, with its
card, for any size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.engines import is_int8, open_engine
from humanparse.errors import BrokenModel, ImageError, MissingExtra, ModelError, OptionError
from humanparse.image import read_image
from humanparse.search import LeftOut, photos_below
from humanparse.system.files import whole_file
from humanparse.vocabulary import PICTURE_ENDINGS

MAX_PHOTOS = 32  # of the folder, spread over it evenly
FEW_PHOTOS = 8  # below this many, a line warns
INPUT = "pixels"  # what every file of ours calls it
# size of the noise that the finished file is tried with; calibration never sees it
TRIAL_HW = (192, 256)
# Kept in float in M2FP: the queries' decoder, whose masks decide what the next layer sees; where
# the deformable attention looks; and the last map, whose product with the queries is the mask.
# Together they are an eighth of the work.
FLOAT_IN_M2FP = (
    r".*transformer_decoder.*",
    r".*sampling_offsets.*",
    r".*attention_weights.*",
    r".*mask_features.*",
)


def quantise(
    model: str | Path,
    out: str | Path,
    photos: str | Path,
    *,
    max_photos: int = MAX_PHOTOS,
    say: Callable[[str], None] = lambda text: None,
) -> ModelCard:
    """Write `model`, an .onnx file of ours in fp32, as int8. Returns its card; `out` appears whole
    or not at all.

    photos: folder of pictures such as the model will see; at most `max_photos` of them are used,
    unreadable ones are not.
    say: called with a line for the user as the work goes on. Raises OptionError for a folder
    without pictures, BrokenModel for a file that is not a float model of ours, MissingExtra without
    NNCF, ModelError if the result does not run.
    """
    model, out = Path(model), Path(out)
    card = ModelCard.from_metadata(open_engine("onnxruntime", model).metadata, str(model))
    files = choose_photos(Path(photos), max_photos, say)
    try:
        import nncf
        import onnx
    except ImportError as error:
        raise MissingExtra(
            f"int8 needs NNCF and ONNX once ({error.name} is missing)", "quantize"
        ) from error
    if is_int8(model):
        raise BrokenModel(f"{model} is int8 already; give the fp32 file it was made from")
    inputs = [{INPUT: pixels} for pixels in _inputs(files, card, say)]
    if not inputs:
        raise OptionError(f"none of the {len(files)} pictures tried in {photos} can be read")
    if len(inputs) < FEW_PHOTOS:
        say(
            f"only {_counted(len(inputs))} to measure the ranges of values by: what these do not show may be rounded badly; "
            f"{MAX_PHOTOS} of all kinds that the model will see are better"
        )
    say(
        f"quantising {card.name} with {_counted(len(inputs))}; this takes minutes for a large model"
    )
    queries = card.head != "centres"
    # its own set_log_level silences the handlers of the whole program
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with whole_file(out) as part:
        _fold(model, part)
        made = nncf.quantize(
            onnx.load(part),
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER if queries else None,
            ignored_scope=nncf.IgnoredScope(patterns=list(FLOAT_IN_M2FP), validate=False)
            if queries
            else None,
            # Smoothing moves scales between layers whose weights NNCF must find, which it does not
            # in all of M2FP's.
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
            ),
        )
        onnx.helper.set_model_props(made, {METADATA_KEY: card.to_json()})
        onnx.save(made, part)
        _try(part, out)
    return card


def choose_photos(
    folder: Path, most: int = MAX_PHOTOS, say: Callable[[str], None] = lambda text: None
) -> list[Path]:
    """At most `most` photos in the folder and below, spread evenly.

    say: called with a line on what is left out. Raises OptionError if it is no folder or has none.
    """
    if not folder.is_dir():
        raise OptionError(
            f"there is no folder {folder}; give one with photos such as the model will see"
        )
    left_out = LeftOut()
    found = sorted(Path(path) for path in photos_below(str(folder), left_out))
    if not found:
        why = str(left_out) or ", ".join(PICTURE_ENDINGS)
        raise OptionError(
            f"there are no pictures in {folder} ({why}); int8 needs some to measure what it rounds"
        )
    for note in left_out.notes():
        say(note)
    return found[:: -(-len(found) // most)]


def _counted(photos: int) -> str:
    return f"{photos} photo" if photos == 1 else f"{photos} photos"


def _fold(model: Path, out: Path) -> None:
    """The same network with BatchNorm in the convolutions and constants computed, so that NNCF sees
    the weights as they act."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # keeps to ONNX's own operators
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _inputs(files: list[Path], card: ModelCard, say: Callable[[str], None]) -> Iterator[np.ndarray]:
    for file in files:
        try:
            yield card.preprocess(read_image(file).pixels)[0]
        except (ImageError, MissingExtra, OSError) as error:
            say(f"{file} is left out: {error}")


def _try(file: Path, out: Path) -> None:
    """Run the finished file on noise of a new size."""
    pixels = np.random.default_rng(0).normal(size=(1, 3, *TRIAL_HW)).astype(np.float32)
    if not all(
        np.isfinite(value).all() for value in open_engine("onnxruntime", file).run(pixels).values()
    ):
        raise ModelError(f"the int8 model gives values that are not finite; {out} was not written")
