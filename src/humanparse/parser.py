"""HumanParser: a photo in, its people and their parts out: a pipeline with an engine in its middle,
and threads."""

from __future__ import annotations

import copy
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from humanparse.arguments import number_between, whole_number
from humanparse.card import ModelCard
from humanparse.engines import Engine, bytes_of, open_engine
from humanparse.errors import ImageError, MissingExtra, OptionError, UnknownModel
from humanparse.image import MAX_MEGAPIXELS, check_limit, read_image
from humanparse.labels import LabelSet
from humanparse.pipeline import MIN_SCORE, Pipeline
from humanparse.preprocess import Geometry, Preprocess
from humanparse.result import ParseFailure, Parsing
from humanparse.system.cores import usable_cores
from humanparse.system.home import home_if_any
from humanparse.system.parallel import SMALL_MODEL_BYTES, in_order, jobs_for, shared_threads
from humanparse.tta import Seen, View, average, views
from humanparse.vocabulary import AUTO, ENGINES
from humanparse.weights import store
from humanparse.weights.catalog import is_name, model_file
from humanparse.weights.hub import HUB


class HumanParser:
    """Parses photos with one model. Make one and keep it; it may be used from several threads.

    model:   None for the model inside the package, a name of the catalogue, an .onnx file, or a folder with one. Nothing is
        fetched here: for a model that is not on this machine the error says how (`pull`, or
        `humanparse models pull`)
    engine:  the runtime's name, "onnxruntime" or "openvino"; "auto" takes the faster one for the model of those installed
        (docs/speed-network.md); or an Engine of your own (then `model` is not opened)
    precision: of a float model's arithmetic: "fp32", or "bf16", which rounds and needs OpenVINO and
    a processor that has it
    device:  "cpu", or "cuda" for an NVIDIA GPU, where ONNX Runtime's build for it is installed (onnxruntime-gpu)
    threads: CPU threads for one photo; None takes all cores that the process may use
    min_score: people and parts scored below this are left out, 0 to 1
    short_side, max_side: sides of the network's input in pixels, instead of the model's own rule:
    the short side becomes
        `short_side`, the long one at most `max_side`. Smaller is faster and sees less; memory grows
        with their product
    max_megapixels: larger photos are refused before they are decoded (1 MP = 1 000 000 pixels)
    flip, scales: look at every photo also mirrored, and at these multiples of the input's sides,
    and average: a little
        better, and slower by as many times as there are looks (see tta.py). Not for M2FP's query
        head
    Raises UnknownModel or BrokenModel for the model, OptionError for an impossible value.

    It is pickled as these arguments, and opens the model again where it is unpickled or
    deep-copied: in another process, or on another machine that has the model.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        engine: str | Engine = "auto",
        precision: str = "fp32",
        device: str = "cpu",
        threads: int | None = None,
        min_score: float = MIN_SCORE,
        short_side: int | None = None,
        max_side: int | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
    ):
        min_score = number_between("min_score", min_score, 0, 1)
        self.max_megapixels = max_megapixels
        check_limit(max_megapixels)
        if threads is not None:
            threads = whole_number("threads", threads, 1, ", or None for all cores")
        self._threads = threads
        self._arguments = {
            "model": model,
            "engine": engine,
            "precision": precision,
            "device": device,
            "threads": threads,
            "short_side": short_side,
            "max_side": max_side,
            "flip": flip,
            "scales": scales,
        }
        self._engines = _Engines()
        if isinstance(engine, str):
            file = model_file(model)
            self._arguments["model"] = model if is_name(model) else str(file.absolute())
            kept = home_if_any()
            cache = kept / "compiled" if kept else None
            opened = partial(
                open_engine, engine, file, precision=precision, device=device, cache=cache
            )
            engine, where = opened(threads), str(file)
            # photos in turn suit a GPU, whose memory need not hold the model twice
            if device == "cpu":
                self._engines = _Engines(opened, bytes_of(file))
        elif hasattr(engine, "run") and hasattr(engine, "metadata"):
            where = type(engine).__name__
        else:
            raise OptionError(
                f"engine is {engine!r}; give one of {', '.join((AUTO, *ENGINES))}, or an Engine"
            )
        self.engine = engine
        card = ModelCard.from_metadata(engine.metadata, where)
        self.pipeline = Pipeline(
            card, where, min_score=min_score, short_side=short_side, max_side=max_side
        )
        self._views = views(flip, scales, card.head, self.preprocess)

    def __reduce__(self):
        kept = {"min_score": self.min_score, "max_megapixels": self.max_megapixels}
        return _opened_again, (type(self), self._arguments | kept)

    def __copy__(self) -> HumanParser:
        """One that shares the loaded model."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    @property
    def card(self) -> ModelCard:
        """What the model's file says of itself."""
        return self.pipeline.card

    @property
    def preprocess(self) -> Preprocess:
        """How photos become the network's input."""
        return self.pipeline.preprocess

    @property
    def min_score(self) -> float:
        """People and parts scored below this are left out."""
        return self.pipeline.min_score

    @min_score.setter
    def min_score(self, value: float) -> None:
        self.pipeline = copy.copy(self.pipeline)  # copies of this parser share it
        self.pipeline.min_score = number_between("min_score", value, 0, 1)

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

        image: path, bytes, PIL image, open binary file, or uint8 RGB array (H, W, 3). name: what to
        call it in files. Returns a Parsing in the photo's size as a person sees it; without people
        it is an ordinary, empty one. Raises ImageError (see errors.py) for a picture that cannot be
        read, OSError for a file that cannot be opened.
        """
        if not isinstance(name, str | None):
            raise OptionError(
                f"name is {name!r}; give the photo a name as text, or None for that of its file"
            )
        clock = _Clock()
        with clock("read"):
            picture = read_image(image, max_megapixels=self.max_megapixels)
        outputs, geometry = (
            self._averaged(picture.pixels, clock)
            if self._views
            else self._run(picture.pixels, clock)
        )
        with clock("postprocess"):
            maps, people, loose = self.pipeline.people(outputs, geometry)
        return Parsing(
            maps.label_map,
            maps.person_map,
            people,
            self.labels,
            picture.pixels,
            loose,
            name=name or picture.name,
            model=self.name,
            timings_ms=clock.times_ms,
            file_name=picture.file_name,
        )

    @staticmethod
    def pull(name: str, *, accept_licence: bool = False) -> Path:
        """Fetch a model of the catalogue and convert it, once; costs nothing if it is here. The
        only way to the network.

        accept_licence: you have read its licence (`humanparse models list` names it) and accept it;
        also said by HUMANPARSE_ACCEPT_LICENCE=1. Returns the file. Raises UnknownModel for a name
        that is not to be fetched, OptionError without the licence, DownloadFailed, and MissingExtra
        without PyTorch.
        """
        if name not in HUB:
            raise UnknownModel(
                f"{name!r} is no model that is fetched; choose one of {', '.join(HUB)}"
            )
        from humanparse.export.fetch import fetch

        accepted = accept_licence or store.licences_accepted()
        return fetch(HUB[name], accept_licence=accepted, say=logging.getLogger("humanparse").info)

    def look(self, pixels: np.ndarray) -> tuple[dict[str, np.ndarray], Geometry]:
        """The network's outputs for a photo, averaged over the views if there are several: what
        people are read off.

        pixels: uint8 (H, W, 3) RGB. Returns the outputs by name, with their batch axis, and where
        the photo lies in them.
        """
        return self._averaged(pixels, _Clock()) if self._views else self._run(pixels, _Clock())

    def parse_many(
        self, images: Iterable, *, jobs: int | None = None, on_error: str = "raise"
    ) -> Iterator[Parsing | ParseFailure]:
        """Parse photos several at a time; the results come in the order of the photos, each as soon
        as it and those before it are done.

        images: whatever `parse` reads; taken as they are needed, at most twice `jobs` ahead, in a
        thread of their own,
            so that a camera or a queue may keep them waiting. What it raises comes after the
            results before it.
        jobs: photos at a time, each in a thread; None chooses by cores and model. Each holds its
        own photo.
        on_error: for a photo that cannot be read "raise" its error, which ends the loop, or
        "return" a ParseFailure in
            its place. Other errors are always raised.
        Raises OptionError at once for an impossible value. A model without `threads` of its own may
        be opened a second time, with fewer threads a photo.
        """
        if on_error not in ("raise", "return"):
            raise OptionError(f"on_error is {on_error!r}; choose 'raise' or 'return'")
        if jobs is not None:
            jobs = whole_number("jobs", jobs, 1, ", or None to have it chosen")
        if isinstance(images, str | bytes | os.PathLike) or not isinstance(images, Iterable):
            raise OptionError(
                f"images is one {type(images).__name__}; give a list of photos, or call parse for one"
            )
        return self._many(
            images, jobs or jobs_for(self._engines.model_bytes, self._threads), on_error == "return"
        )

    def _many(
        self, images: Iterable, jobs: int, return_errors: bool
    ) -> Iterator[Parsing | ParseFailure]:
        parser = self
        if self._threads is None and (engine := self._engines.shared_by(jobs)):
            parser = copy.copy(self)
            parser.engine = engine
        with closing(in_order(parser.parse, images, jobs)) as ended:
            for image, future in ended:
                error = future.exception()
                if return_errors and isinstance(error, ImageError | MissingExtra | OSError):
                    yield ParseFailure(image, error)
                else:
                    yield future.result()

    def _run(
        self, pixels: np.ndarray, clock: _Clock, view: View | None = None
    ) -> tuple[dict[str, np.ndarray], Geometry]:
        """The network's outputs for the photo, or for one view of it, and where the photo lies in
        its input."""
        with clock("preprocess"):
            inputs, geometry = view(pixels, self.preprocess) if view else self.preprocess(pixels)
        with clock("network"):
            outputs = self.engine.run(inputs)
        self.pipeline.check(outputs)
        return outputs, geometry

    def _averaged(
        self, pixels: np.ndarray, clock: _Clock
    ) -> tuple[dict[str, np.ndarray], Geometry]:
        """The same, averaged over all views."""
        seen = [Seen(view, *self._run(pixels, clock, view)) for view in self._views]
        grid = View().geometry(pixels.shape[:2], self.preprocess)
        with clock("postprocess"):
            return average(seen, grid, self.card.head, self.labels), grid


def _opened_again(kind: type[HumanParser], arguments: dict[str, Any]) -> HumanParser:
    return kind(**arguments)


class _Engines:
    """The same model opened again, for several photos at a time. open_with: (threads) → Engine;
    None if it cannot be."""

    def __init__(self, open_with: Callable[[int], Engine] | None = None, model_bytes: int = 0):
        self.model_bytes = model_bytes
        self._open_with = open_with
        self._opened: dict[int, Engine] = {}
        self._lock = threading.Lock()

    def shared_by(self, jobs: int) -> Engine | None:
        """One whose threads leave each of `jobs` photos its share of the cores; None if the
        parser's own is as good."""
        threads = shared_threads(jobs)
        if (
            jobs == 1
            or self._open_with is None
            or self.model_bytes >= SMALL_MODEL_BYTES
            or threads == usable_cores()
        ):
            return None
        with self._lock:
            if threads not in self._opened:
                self._opened[threads] = self._open_with(threads)
            return self._opened[threads]


class _Clock:
    """`with clock("stage"):` adds the stage's time to `times_ms`, in milliseconds."""

    def __init__(self):
        self.times_ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        taken_ms = (time.perf_counter() - start) * 1000
        self.times_ms[stage] = round(self.times_ms.get(stage, 0.0) + taken_ms, 2)
