"""A model in OpenVINO's own format: model.xml and model.bin, which every program with OpenVINO
reads, and its model server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.engines import open_engine
from humanparse.errors import OptionError
from humanparse.export.graph import TOLERANCE, Written, compare, inputs_of
from humanparse.system.files import sha256_of

# in the units of `difference`: rounding weights to 11 bits moves logits a little, and decisions
# hardly
FP16_TOLERANCE = 0.2


def write_openvino(
    model: Path, out: Path, photos: Sequence[Path] = (), *, fp16: bool = False
) -> Written:
    """Write `model` as `out`, an .xml file, and the .bin beside it; both carry the card, so that
    HumanParser reads them.

    photos: pictures on which both must agree. fp16: weights in half the space, rounded; the
    arithmetic is the reader's choice. Raises OptionError for another ending, MissingExtra without
    OpenVINO, ModelError if the outputs differ.
    """
    if out.suffix != ".xml":
        raise OptionError(
            f"{out} should end in .xml; the weights go into the .bin file of that name beside it"
        )
    original = open_engine("openvino", model)
    card = ModelCard.from_metadata(original.metadata, str(model))
    import openvino

    from humanparse.engines.openvino import core

    network = core().read_model(str(model))
    network.set_rt_info(card.to_json(), ["framework", METADATA_KEY])
    # The .xml alone names the model where it is recognised again, and must differ where the weights
    # do.
    network.set_rt_info(sha256_of(model), ["framework", "made_from_sha256"])
    with tempfile.TemporaryDirectory(prefix=".making-", dir=out.parent) as folder:
        made = Path(folder, out.name)
        openvino.save_model(network, str(made), compress_to_fp16=fp16)
        tolerance = FP16_TOLERANCE if fp16 else TOLERANCE
        agreement = compare(
            original.run, open_engine("openvino", made).run, inputs_of(photos, card), tolerance
        )
        files = out.with_suffix(".bin"), out
        for file in files:  # the .xml last: it is the one that is opened
            os.replace(made.with_suffix(file.suffix), file)
    return Written(files[::-1], agreement)
