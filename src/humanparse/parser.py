"""HumanParser: a photo in, its people and their parts out. The one place where image, engine and post-processing meet."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from humanparse.engines import Engine, open_engine
from humanparse.errors import BrokenModel, OptionError
from humanparse.image import MAX_MEGAPIXELS, read_image
from humanparse.labels import LabelSet
from humanparse.postprocess import (
    CentreSettings,
    Maps,
    QuerySettings,
    SemanticSettings,
    assemble,
    parse_centres,
    parse_queries,
    parse_semantic,
)
from humanparse.preprocess import Geometry
from humanparse.result import Parsing
from humanparse.weights import store
from humanparse.weights.catalog import ModelCard, model_file
from humanparse.weights.hub import HUB

MIN_SCORE = 0.3  # people and parts that the model is less sure of are left out
SETTINGS = {"centres": CentreSettings, "queries": QuerySettings, "semantic": SemanticSettings}  # by head, as are
QUERY_OUTPUTS = ("pred_logits", "pred_masks")
OUTPUTS = {"centres": ("classes", "person", "centre", "offset"), "queries": QUERY_OUTPUTS, "semantic": QUERY_OUTPUTS}


class HumanParser:
    """Parses photos with one model. Make one and keep it; it may be used from several threads.

    model:   None for the model inside the package, a name of the catalogue, an .onnx file, or a folder with one; a model
        that is to be fetched, is, if its licence was accepted before or by HUMANPARSE_ACCEPT_LICENCE=1 (converting it
        needs PyTorch, once); else the error says how
    engine:  the runtime's name, or an Engine of your own (then `model` is not opened)
    threads: CPU threads for one photo; None takes all cores that the process may use
    min_score: people and parts scored below this are left out, 0 to 1
    short_side, max_side: sides of the network's input in pixels, instead of the model's own rule: the short side becomes
        `short_side`, the long one at most `max_side`. Smaller is faster and sees less; memory grows with their product
    max_megapixels: larger photos are refused before they are decoded (1 MP = 1 000 000 pixels)
    Raises UnknownModel, BrokenModel or DownloadFailed for the model, OptionError for an impossible value.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        engine: str | Engine = "onnxruntime",
        threads: int | None = None,
        min_score: float = MIN_SCORE,
        short_side: int | None = None,
        max_side: int | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
    ):
        if not 0 <= min_score <= 1:
            raise OptionError(f"min_score is {min_score}; it is a probability between 0 and 1")
        if threads is not None and threads < 1:
            raise OptionError(f"threads is {threads}; give at least 1, or None for all cores")
        if isinstance(engine, str):
            file = _file(model)
            engine, where = open_engine(engine, file, threads), str(file)
        else:
            where = type(engine).__name__
        self.engine = engine
        self.card = ModelCard.from_metadata(engine.metadata, where)
        self.preprocess = self.card.preprocess.resized(short_side, max_side)
        self.min_score = min_score
        self.max_megapixels = max_megapixels
        self._settings = _settings(self.card, where)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.card.name

    @property
    def labels(self) -> LabelSet:
        """The model's classes."""
        return self.card.labels

    def parse(self, image, *, name: str | None = None) -> Parsing:
        """Find the people of one photo and their parts.

        image: path, bytes, PIL image, open binary file, or uint8 RGB array (H, W, 3). name: what to call it in files.
        Returns a Parsing in the photo's size as a person sees it; without people it is an ordinary, empty one.
        Raises ImageError (see errors.py) for a picture that cannot be read, OSError for a file that cannot be opened.
        """
        clock = _Clock()
        with clock("read"):
            picture = read_image(image, max_megapixels=self.max_megapixels)
        with clock("preprocess"):
            pixels, geometry = self.preprocess(picture.pixels)
        with clock("network"):
            outputs = self.engine.run(pixels)
        with clock("postprocess"):
            maps = self._maps(outputs, geometry)
            people, loose = assemble(maps, self.labels, self.min_score)
        return Parsing(
            maps.label_map, maps.person_map, people, self.labels, picture.pixels, loose,
            name=name or picture.name, model=self.name, timings_ms=clock.times_ms,
        )

    def _maps(self, outputs: dict[str, np.ndarray], geometry: Geometry) -> Maps:
        missing = [name for name in OUTPUTS[self.card.head] if name not in outputs]
        if missing:
            lacking = ", ".join(missing)
            raise BrokenModel(f"model {self.name!r} gives no output {lacking}; its head is said to be {self.card.head!r}")
        if self.card.head == "centres":
            return parse_centres(outputs, geometry, self._settings)
        if self.card.head == "semantic":
            return parse_semantic(outputs, geometry, self._settings)
        return parse_queries(outputs, geometry, self._settings, num_parts=len(self.labels))


def _file(model: str | Path | None) -> Path:
    """The model's file. A model of the hub is fetched and converted first, if its licence was accepted."""
    wanted = HUB.get(str(model))
    if wanted and (store.accepted(wanted) or store.licences_accepted()):
        from humanparse.convert.fetch import fetch

        return fetch(wanted, accept_licence=True, say=logging.getLogger("humanparse").info)
    return model_file(model)


def _settings(card: ModelCard, where: str) -> CentreSettings | QuerySettings | SemanticSettings:
    try:
        return SETTINGS[card.head](**card.settings)
    except TypeError as error:
        raise BrokenModel(f"{where} carries settings that this version does not know ({error}); update humanparse") from error


class _Clock:
    """`with clock("stage"):` adds the stage's time to `times_ms`, in milliseconds."""

    def __init__(self):
        self.times_ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times_ms[stage] = round((time.perf_counter() - start) * 1000, 2)
