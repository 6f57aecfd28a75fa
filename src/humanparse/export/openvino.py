"""Export to OpenVINO's own format: an .xml and a .bin file, for OpenVINO and its model server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.engines import open_engine
from humanparse.errors import OptionError
from humanparse.export.agreement import TOLERANCE, compare, network_inputs
from humanparse.export.graph import Written
from humanparse.system.files import scratch_folder, sha256_of

# As `difference` measures it: weights rounded to 11 bits move the logits a little, and hardly ever
# change a decision.
FP16_TOLERANCE = 0.2


def write_openvino(
    model: Path, out: Path, photos: Sequence[Path] = (), *, fp16: bool = False
) -> Written:
    """Write a model as an .xml file and a .bin file; HumanParser opens them too.

    Both files carry the card, and appear only if their outputs agree with the model's.

    Args:
        model: The .onnx file of the model.
        out: The .xml file to write; the weights go into the .bin file of the same name.
        photos: Photos on which both must agree, besides noise.
        fp16: Store the weights in half the space, rounded; whoever opens the file chooses the
            precision of the arithmetic.

    Raises:
        OptionError: If `out` does not end in .xml.
        MissingExtra: Without OpenVINO.
        ModelError: If the outputs differ.
    """
    if out.suffix != ".xml":
        raise OptionError(
            f"{out} should end in .xml; the weights go into the .bin file of the same name"
        )
    original = open_engine("openvino", model)
    card = ModelCard.from_metadata(original.metadata, str(model))
    import openvino

    from humanparse.engines.openvino import core

    network = core().read_model(str(model))
    network.set_rt_info(card.to_json(), ["framework", METADATA_KEY])
    # Models are recognised by their .xml file alone, so it must differ where the weights do.
    network.set_rt_info(sha256_of(model), ["framework", "made_from_sha256"])
    with scratch_folder(out.parent) as folder:
        made = folder / out.name
        openvino.save_model(network, str(made), compress_to_fp16=fp16)
        tolerance = FP16_TOLERANCE if fp16 else TOLERANCE
        agreement = compare(
            original.run, open_engine("openvino", made).run, network_inputs(photos, card), tolerance
        )
        files = out.with_suffix(".bin"), out
        for file in files:  # the .xml last: it is the one that is opened
            os.replace(made.with_suffix(file.suffix), file)
    return Written(files[::-1], agreement)
