"""Quantise a model file to int8: weights and activations in eight bits where that does no harm.

This uses NNCF's post-training quantisation (extra: quantize): photos go through the fp32 model
once, and the ranges of the values become the scales. ONNX Runtime's own quantiser lost a third of
the embedded model's mIoU, NNCF's next to nothing (docs/speed-network.md). The result is still an
ONNX file with its card, for inputs of any size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.engines import is_int8, open_engine
from humanparse.errors import BrokenModel, ImageError, MissingExtra, ModelError, OptionError
from humanparse.export.agreement import NOISE_HW
from humanparse.export.graph import INPUT, fold, merge_pads
from humanparse.image import read_image
from humanparse.search import LeftOut, photos_below, spread
from humanparse.system.files import whole_file
from humanparse.vocabulary import PICTURE_ENDINGS

MAX_PHOTOS = 32  # taken from the folder, evenly spread over it
FEW_PHOTOS = 8  # with fewer, the user is warned
# Parts of M2FP that stay in float: the queries' decoder, whose masks decide what the next layer
# sees; the sampling offsets and weights of the deformable attention; and the last map, whose
# product with the queries is the mask. Together they are an eighth of the work.
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
    log: Callable[[str], None] = lambda line: None,
) -> ModelCard:
    """Write an fp32 model as int8, and return its card.

    Args:
        model: An .onnx file written by humanparse, in fp32.
        out: The .onnx file to write; it appears whole or not at all.
        photos: A folder of photos like those that the model will see; unreadable ones are skipped.
        max_photos: The largest number of photos to use.
        log: Called with each line for the user.

    Raises:
        OptionError: If the folder has no readable pictures.
        BrokenModel: If `model` is not a float model written by humanparse.
        MissingExtra: Without NNCF.
        ModelError: If the result gives values that are not finite.
    """
    model, out = Path(model), Path(out)
    card = ModelCard.from_metadata(open_engine("onnxruntime", model).metadata, str(model))
    files = choose_photos(Path(photos), max_photos, log)
    try:
        import nncf
        import onnx
        from nncf.quantization.advanced_parameters import QuantizationParameters
    except ImportError as error:
        raise MissingExtra(
            f"int8 needs NNCF and ONNX once ({error.name} is missing)", "quantize"
        ) from error
    if is_int8(model):
        raise BrokenModel(f"{model} is int8 already; give the fp32 file that it was made from")
    inputs = [{INPUT: pixels} for pixels in _inputs(files, card, log)]
    if not inputs:
        raise OptionError(f"none of the {len(files)} pictures tried in {photos} can be read")
    if len(inputs) < FEW_PHOTOS:
        log(
            f"only {_counted(len(inputs))} to measure the ranges of values with: whatever they do "
            f"not show may be rounded badly; {MAX_PHOTOS} of all kinds that the model will see are "
            "better"
        )
    log(
        f"quantising {card.name} with {_counted(len(inputs))}; this takes minutes for a large model"
    )
    queries = card.head != "centres"
    # NNCF's own set_log_level would silence the handlers of the whole program.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with whole_file(out) as part:
        fold(model, part)  # so that NNCF sees the weights as they act
        folded = onnx.load(part)
        merge_pads(folded, folded)
        made = nncf.quantize(
            folded,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER if queries else None,
            ignored_scope=nncf.IgnoredScope(patterns=list(FLOAT_IN_M2FP), validate=False)
            if queries
            else None,
            # Smoothing moves scales between layers and needs their weights, which NNCF does not
            # find for all of M2FP's layers.
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # By itself, NNCF gives each channel before a depthwise convolution a scale of its
                # own. ONNX Runtime has no such kernels, and would compute both neighbours in float.
                activations_quantization_params=QuantizationParameters(per_channel=False),
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),
                # Processors without VNNI add two products in sixteen bits, and cut off sums that
                # are larger. With weights of seven bits none is. The embedded model does without:
                # the order of its channels keeps strong ones apart (training/low_rank.py).
                overflow_fix=nncf.OverflowFix.ENABLE if queries else None,
            ),
        )
        onnx.helper.set_model_props(made, {METADATA_KEY: card.to_json()})
        onnx.save(made, part)
        _check_finite(part, out)
    return card


def choose_photos(
    folder: Path, max_photos: int = MAX_PHOTOS, log: Callable[[str], None] = lambda line: None
) -> list[Path]:
    """Return photos of a folder and its subfolders, evenly spread.

    Args:
        folder: Where to search.
        max_photos: The largest number of photos to return.
        log: Called with a line for each reason for which files were left out.

    Raises:
        OptionError: If it is not a folder, or has no pictures.
    """
    if not folder.is_dir():
        raise OptionError(
            f"there is no folder {folder}; give one with photos like those that the model will see"
        )
    left_out = LeftOut()
    found = sorted(Path(path) for path in photos_below(str(folder), left_out))
    if not found:
        why = str(left_out) or ", ".join(PICTURE_ENDINGS)
        raise OptionError(
            f"there are no pictures in {folder} ({why}); int8 needs some to measure values"
        )
    for note in left_out.notes():
        log(note)
    return spread(found, max_photos)


def _counted(photos: int) -> str:
    return f"{photos} photo" if photos == 1 else f"{photos} photos"


def _inputs(
    files: Sequence[Path], card: ModelCard, log: Callable[[str], None]
) -> Iterator[np.ndarray]:
    for file in files:
        try:
            yield card.preprocess(read_image(file).pixels)[0]
        except (ImageError, MissingExtra, OSError) as error:
            log(f"{file} is left out: {error}")


def _check_finite(file: Path, out: Path) -> None:
    """Run the finished file on noise, of a size that calibration never saw."""
    pixels = np.random.default_rng(0).normal(size=(1, 3, *NOISE_HW)).astype(np.float32)
    outputs = open_engine("onnxruntime", file).run(pixels)
    if not all(np.isfinite(value).all() for value in outputs.values()):
        raise ModelError(f"the int8 model gives values that are not finite; {out} was not written")
