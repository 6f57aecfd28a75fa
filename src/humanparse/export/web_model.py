"""What humanparse.js has to know about a model and its post-processing: the contents of model.json.

Every number is Python's own, so that it exists once. The layers of the outfit reader are left out:
they are large, and card.js reads them where they are, in the model's file.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from humanparse.card import ModelCard
from humanparse.engines import open_engine
from humanparse.errors import OptionError
from humanparse.pipeline import MIN_SCORE
from humanparse.postprocess import CentreSettings
from humanparse.postprocess.centres import MAX_PEOPLE, ROUNDS, STRIDE
from humanparse.postprocess.cleanup import PUSH
from humanparse.postprocess.outfit import BANDS, REACH
from humanparse.postprocess.probability import FAINTEST

MAX_PIXELS = 12_000_000  # of a photo in the browser; larger ones are shrunk before they are parsed


def web_model(model: Path) -> dict[str, Any]:
    """Return the contents of model.json, but for what `web.py` adds.

    Args:
        model: The .onnx file of the model.

    Raises:
        OptionError: If the model has a head that humanparse.js does not know.
    """
    card = ModelCard.from_metadata(open_engine("onnxruntime", model).metadata, str(model))
    if card.head != "centres" or card.preprocess.filter != "area" or card.preprocess.fit_hw:
        raise OptionError(
            f"{card.name} has the head {card.head!r}, whose post-processing is not available in "
            "JavaScript; export humanparse-small, humanparse-int8 or a model trained from them"
        )
    settings, labels = CentreSettings(**card.settings), card.labels
    return {
        **card.summary(),
        "heads": sorted(labels.heads),
        "faces": sorted(labels.faces),
        "garments": sorted(labels.garments),
        "outfit_bands": BANDS,
        "outfit_reach": REACH,
        "preprocess": asdict(card.preprocess),
        "settings": asdict(replace(settings, outfit_reader="")),
        "stride": STRIDE,
        "max_people": MAX_PEOPLE,
        "rounds": ROUNDS,
        "min_score": MIN_SCORE,
        "faintest": FAINTEST,
        "push": PUSH,
        "max_pixels": MAX_PIXELS,
    }
