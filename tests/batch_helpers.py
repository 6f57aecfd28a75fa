"""Photos for `humanparse batch`, the command as a process of its own, and what lies in its
output."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

COMMAND = (sys.executable, "-m", "humanparse", "batch")
PATIENCE_S = 240  # for a whole run on a machine that is busy with other things


def side_of(number: int) -> int:
    """Of the square photo of that number, in pixels."""
    return 8 + number % 50


def picture(number: int) -> Image.Image:
    return Image.new("RGB", (side_of(number), side_of(number)), (200, 120, 40))


def picture_bytes(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "PNG", compress_level=1)
    return file.getvalue()


def write_photos(folder: Path, count: int) -> list[str]:
    """So many photos in sub-folders of a hundred. Returns their keys."""
    keys = []
    for number in range(count):
        keys.append(f"{number // 100:03}/{number:06}.png")
        (folder / keys[-1]).parent.mkdir(parents=True, exist_ok=True)
        (folder / keys[-1]).write_bytes(picture_bytes(number))
    return keys


def started(*arguments, env=None, **options) -> subprocess.Popen:
    """`humanparse batch` with these arguments."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.Popen(
        words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def finished(*arguments, code=0, env=None) -> str:
    """Run it to its end, which must have this exit code. Returns stderr."""
    process = started(*arguments, env=env)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, said
    return said


def rows_in(folder: Path) -> list[dict]:
    """All rows of the parts, read as any reader of Parquet folders would."""
    dataset = pytest.importorskip("pyarrow.dataset")
    return dataset.dataset(folder, format="parquet").to_table().to_pylist()


def failures_in(folder: Path) -> dict[str, str]:
    """Code by key."""
    path = folder / "_failures.jsonl"
    lines = (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    )
    return {line["key"]: line["code"] for line in lines}


def visible_files(folder: Path) -> list[str]:
    """Files below the folder, but those whose names begin with _."""
    return sorted(
        os.path.relpath(os.path.join(here, name), folder)
        for here, _, names in os.walk(folder)
        for name in names
        if not name.startswith("_") and "_unfinished" not in here
    )
