"""HumanParser: from a photo to its people and their parts.

A pipeline with an engine in its middle, and threads for many photos.
"""

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
    """Find the people of photos, their body parts and their garments, with one model.

    Create one parser and keep it: opening the model takes time, and one parser may be used from
    several threads. Creating it never uses the network: if the model is not on this machine, the
    error says how to get it (`pull`, or `humanparse models pull`).

    A parser is pickled as its arguments. It opens the model again where it is unpickled or
    deep-copied: in another process, or on another machine that has the model.

    Args:
        model: None for the model inside the package, a name from the catalogue, an .onnx file, or a
            folder that holds one.
        engine: The name of the runtime, "onnxruntime" or "openvino". "auto" takes whichever of the
            installed ones is faster for the model (docs/speed-network.md). With an Engine object,
            `model` is not opened.
        precision: The arithmetic of a float model: "fp32", or "bf16", which rounds, and which needs
            OpenVINO and a processor that supports it.
        device: "cpu", or other hardware that the engine reaches, such as "cuda"
            (docs/speed-network.md).
        threads: The number of CPU threads for one photo; None takes all cores that the process may
            use.
        min_score: People and parts whose score is below this are left out, from 0 to 1.
        short_side: The short side of the network's input in pixels, instead of the model's own
            rule. A smaller input is faster but shows less detail; memory grows with the product of
            its sides.
        max_side: The greatest length of its long side, in pixels.
        max_megapixels: Larger photos are refused before they are decoded (1 MP = 1 000 000 pixels).
        flip: Look at a mirrored copy of every photo as well, and average the two: slightly better,
            and twice as slow (see tta.py). Not available for M2FP's query head.
        scales: Look at every photo at these multiples of the input's sides and average the views.
            Time grows with the number of views. Not available for M2FP's query head.

    Raises:
        UnknownModel: If there is no such model on this machine.
        BrokenModel: If the model file cannot be used.
        OptionError: If another argument has an impossible value.
        MissingExtra: If the engine is not installed.

    Example:
        ```python
        result = HumanParser().parse("street.jpg")
        result.people[0].parts["Left-arm"].mask.area
        ```
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
            # A GPU takes photos one after the other, so that its memory holds the model only once.
            if device == "cpu":
                self._engines = _Engines(opened, bytes_of(file))
        elif hasattr(engine, "run") and hasattr(engine, "metadata"):
            where = type(engine).__name__
        else:
            raise OptionError(
                f"engine is {engine!r}; choose one of {', '.join((AUTO, *ENGINES))}, "
                "or give an Engine"
            )
        self.engine = engine
        card = ModelCard.from_metadata(engine.metadata, where)
        self.pipeline = Pipeline(
            card, where, min_score=min_score, short_side=short_side, max_side=max_side
        )
        self._views = views(flip, scales, card.head, self.preprocess)

    def __reduce__(self) -> tuple[Any, ...]:
        kept = {"min_score": self.min_score, "max_megapixels": self.max_megapixels}
        return _opened_again, (type(self), self._arguments | kept)

    def __copy__(self) -> HumanParser:
        """Return a parser that shares the loaded model."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    @property
    def card(self) -> ModelCard:
        """What the model's file says about the model."""
        return self.pipeline.card

    @property
    def preprocess(self) -> Preprocess:
        """How a photo becomes the network's input."""
        return self.pipeline.preprocess

    @property
    def min_score(self) -> float:
        """People and parts whose score is below this are left out."""
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

    def parse(self, image: Any, *, name: str | None = None) -> Parsing:
        """Find the people of one photo and their parts.

        Args:
            image: A path, bytes, a PIL image, an open binary file, or a uint8 RGB array (H, W, 3).
            name: What to call the photo in the names of files; None takes the name of its file.

        Returns:
            A Parsing in the size of the photo, turned the way a person sees it. For a photo without
            people it is an ordinary Parsing that is empty.

        Raises:
            ImageError: If the picture cannot be read (errors.py lists the kinds).
            OSError: If the file cannot be opened.
            MissingExtra: If the picture's format needs a package that is not installed.
            OptionError: If the name is not text.
        """
        if not isinstance(name, str | None):
            raise OptionError(
                f"name is {name!r}; give the photo's name as text, or None for the name of its file"
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
            maps, people, unassigned = self.pipeline.people(outputs, geometry)
        return Parsing(
            maps.label_map,
            maps.person_map,
            people,
            self.labels,
            picture.pixels,
            unassigned,
            name=name or picture.name,
            model=self.name,
            timings_ms=clock.times_ms,
            file_name=picture.file_name,
        )

    @staticmethod
    def pull(name: str, *, accept_licence: bool = False) -> Path:
        """Fetch a model of the catalogue and convert it, unless it is already on this machine.

        This is the only method that uses the network.

        Args:
            name: A name from the catalogue.
            accept_licence: True says that you have read the model's licence (`humanparse models
                list` names it) and accept it. HUMANPARSE_ACCEPT_LICENCE=1 says the same.

        Returns:
            The path of the converted model file.

        Raises:
            UnknownModel: If no model of this name can be fetched.
            OptionError: If the licence has not been accepted.
            DownloadFailed: If the download fails.
            MissingExtra: If PyTorch is not installed.
        """
        if name not in HUB:
            raise UnknownModel(
                f"{name!r} is not a model that can be fetched; choose one of {', '.join(HUB)}"
            )
        from humanparse.export.fetch import fetch

        accepted = accept_licence or store.licences_accepted()
        return fetch(HUB[name], accept_licence=accepted, say=logging.getLogger("humanparse").info)

    def look(self, pixels: np.ndarray) -> tuple[dict[str, np.ndarray], Geometry]:
        """Run the network on a photo, and return the outputs from which people are read.

        If the parser has several views, the outputs are averaged over them.

        Args:
            pixels: The photo, uint8 (H, W, 3) RGB.

        Returns:
            The outputs by name, each with its batch axis, and where the photo lies in them.
        """
        return self._averaged(pixels, _Clock()) if self._views else self._run(pixels, _Clock())

    def parse_many(
        self, images: Iterable, *, jobs: int | None = None, on_error: str = "raise"
    ) -> Iterator[Parsing | ParseFailure]:
        """Parse several photos at the same time; the results come in the order of the photos.

        Each result comes as soon as it and all results before it are ready. A parser without
        `threads` may open the model a second time, with fewer threads for each photo.

        Args:
            images: Anything that `parse` reads. The iterable is read in a thread of its own, at
                most twice `jobs` photos ahead, so that it may be a camera or a queue that keeps its
                reader waiting. An exception that it raises comes after the results before it.
            jobs: The number of photos at the same time, each in a thread and each in memory; None
                chooses a number for the cores and the model.
            on_error: What to do about a photo that cannot be read: "raise" its error, which ends
                the loop, or "return" a ParseFailure in its place. Other errors are always raised.

        Returns:
            An iterator over one Parsing (or ParseFailure) for each photo.

        Raises:
            OptionError: If an argument has an impossible value; raised at once, not in the loop.
        """
        if on_error not in ("raise", "return"):
            raise OptionError(f"on_error is {on_error!r}; choose 'raise' or 'return'")
        if jobs is not None:
            jobs = whole_number("jobs", jobs, 1, ", or None to choose it automatically")
        if isinstance(images, str | bytes | os.PathLike) or not isinstance(images, Iterable):
            raise OptionError(
                f"images is a single {type(images).__name__}; give a list of photos, "
                "or call parse for one photo"
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
        """Return the network's outputs for a photo or a view of it, and where the photo lies in
        its input.
        """
        with clock("preprocess"):
            inputs, geometry = (
                view(pixels, self.preprocess) if view else self.pipeline.inputs(pixels)
            )
        with clock("network"):
            outputs = self.engine.run(inputs)
        self.pipeline.check(outputs)
        return outputs, geometry

    def _averaged(
        self, pixels: np.ndarray, clock: _Clock
    ) -> tuple[dict[str, np.ndarray], Geometry]:
        """Return the same, averaged over all views."""
        seen = [Seen(view, *self._run(pixels, clock, view)) for view in self._views]
        grid = View().geometry(pixels.shape[:2], self.preprocess)
        with clock("postprocess"):
            return average(seen, grid, self.card.head, self.labels), grid


def _opened_again(kind: type[HumanParser], arguments: dict[str, Any]) -> HumanParser:
    return kind(**arguments)


class _Engines:
    """The same model opened again, with fewer threads, for several photos at the same time.

    open_with: (threads) → Engine; None if the model cannot be opened again.
    """

    def __init__(self, open_with: Callable[[int], Engine] | None = None, model_bytes: int = 0):
        self.model_bytes = model_bytes
        self._open_with = open_with
        self._opened: dict[int, Engine] = {}
        self._lock = threading.Lock()

    def shared_by(self, jobs: int) -> Engine | None:
        """Return an engine whose threads leave each of `jobs` photos its share of the cores.

        Returns None if the parser's own engine is as good.
        """
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
    """`with clock("stage"):` adds the time of that stage to `times_ms`, in milliseconds."""

    def __init__(self) -> None:
        self.times_ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        taken_ms = (time.perf_counter() - start) * 1000
        self.times_ms[stage] = round(self.times_ms.get(stage, 0.0) + taken_ms, 2)
