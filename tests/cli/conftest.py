"""A parser without weights, put where the commands look for theirs, and `run` to call a command."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from made_up import parsing_from_maps
from PIL import Image, UnidentifiedImageError
from typer.testing import CliRunner

from humanparse.cli import app, parse
from humanparse.errors import NotAnImage
from humanparse.labels import CIHP


class FakeParser:
    """Finds one person, all face, in the upper half of every photo; keeps the names of the photos
    it saw."""

    name, labels = "fake", CIHP

    def __init__(self):
        self.seen: list[str] = []

    def parse(self, image, *, name=None):
        self.seen.append(name)
        try:
            with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
                pixels = np.array(opened.convert("RGB"))
        except UnidentifiedImageError:
            raise NotAnImage("this is not a picture; give a JPEG or PNG") from None
        upper = np.zeros(pixels.shape[:2], bool)
        upper[: len(upper) // 2] = True
        face = CIHP.index("Face")
        return parsing_from_maps(
            (face * upper).astype(np.uint8), upper.astype(np.uint16), image=pixels, name=name
        )


@pytest.fixture
def parser(monkeypatch) -> FakeParser:
    """The parser that the commands will get; `loaded` keeps the (model, options) of each
    loading."""
    fake = FakeParser()
    fake.loaded = []

    def load_parser(model=None, **options):
        fake.loaded.append((model, options))
        return fake

    monkeypatch.setattr(parse, "load_parser", load_parser)
    return fake


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here, parser):
    """`run("parse", "x.jpg")` in the empty folder; the result has exit_code, stdout and stderr."""
    return lambda *arguments, stdin=None: CliRunner().invoke(
        app, [str(one) for one in arguments], input=stdin
    )


@pytest.fixture
def photo(here):
    """`photo("a/x.jpg")` writes a small photo there, and its folders."""

    def write(path: str, size=(24, 16)) -> Path:
        target = here / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (200, 120, 40)).save(target)
        return target

    return write


@pytest.fixture
def written(here):
    """`written()` lists all files below the current folder, as text."""
    return lambda folder=".": sorted(
        p.relative_to(here / folder).as_posix() for p in (here / folder).rglob("*") if p.is_file()
    )
