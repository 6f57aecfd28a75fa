"""The files of a job. Each job has a folder whose name the server chooses:

    <root>/<id>/upload.zip             an archive that is not unpacked yet
    <root>/<id>/upload                 a clip that is not parsed yet
    <root>/<id>/clip/…                 what is parsed of it so far
    <root>/<id>/progress.json          how much that is
    <root>/<id>/inputs/0000.bin, …     pictures that are not parsed yet
    <root>/<id>/results/0000, …        finished results

A folder without a row in the database belongs to an interrupted upload or to a job that was being
deleted; it is removed at start.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from humanparse.service.jobs.store import ClipProgress
from humanparse.system.files import sync_folder, write_private

GONE = "gone-"
MAX_PROGRESS_BYTES = 100


class JobFiles:
    """The folder of one job.

    Args:
        root: The folder of all jobs.
        id: The job's id, the name of its folder.
    """

    def __init__(self, root: Path, id: str):
        self.id = id
        self._root = root
        self.folder = root / id
        self.archive, self.inputs, self.results = (
            self.folder / "upload.zip",
            self.folder / "inputs",
            self.folder / "results",
        )
        self.clip, self.parsed_clip = self.folder / "upload", self.folder / "clip"
        self.progress = self.folder / "progress.json"

    def create(self) -> None:
        """Make the folders. Raises OSError."""
        for folder in (self.folder, self.inputs, self.results):
            folder.mkdir(mode=0o700)

    def make_durable(self) -> None:
        """Write the folders' entries to the disk; the files themselves are there already."""
        for folder in (self.inputs, self.folder, self._root):
            sync_folder(folder)

    def empty_inputs(self) -> None:
        """Remove what an interrupted unpacking, or an interrupted call of this, has left."""
        shutil.rmtree(self.inputs, ignore_errors=True)
        self.inputs.mkdir(mode=0o700, exist_ok=True)

    def input(self, number: int) -> Path:
        """Return the path of an uploaded picture."""
        return self.inputs / f"{number:04d}.bin"

    def read_input(self, number: int, size: int) -> bytes:
        """Return the bytes of an uploaded picture.

        Args:
            number: The picture's number in the job.
            size: The size in bytes that it had when it arrived.

        Raises:
            FileNotFoundError: If it is missing or its size has changed.
        """
        data = self.input(number).read_bytes()
        if len(data) != size:
            raise FileNotFoundError(f"an input has {len(data)} bytes and should have {size}")
        return data

    def drop_input(self, number: int) -> None:
        """Remove an uploaded picture."""
        with suppress(OSError):  # what remains is removed with the job
            self.input(number).unlink()

    def archive_bytes(self) -> int:
        """Return the size of the archive or clip; 0 if it is gone."""
        return sum(_size(path) for path in (self.archive, self.clip))

    def drop_archive(self) -> None:
        """Remove the archive or clip, and what was parsed of it so far."""
        for path in (self.archive, self.clip):
            with suppress(OSError):
                path.unlink()
        shutil.rmtree(self.parsed_clip, ignore_errors=True)

    def clip_progress(self) -> ClipProgress | None:
        """Return how much of a clip is parsed; None if that is not known.

        A worker wrote it that read a clip from a client, so it is not trusted.
        """
        try:
            done, total = json.loads(self.progress.read_bytes()[:MAX_PROGRESS_BYTES])
            return ClipProgress(int(done), None if total is None else int(total))
        except (OSError, ValueError, TypeError):
            return None

    def write_result(self, number: int, body: bytes) -> None:
        """Write a result; replaces an earlier one with the same number. Raises OSError."""
        # in case the folder was removed from outside
        self.results.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.result(number), body)

    def remove(self) -> None:
        """Remove the folder; it is renamed first, so that no task in progress can write into it."""
        with suppress(FileNotFoundError):
            os.rename(self.folder, gone := self._root / f"{GONE}{self.id}")
            shutil.rmtree(gone, ignore_errors=True)

    def result(self, number: int) -> Path:
        """Return the path of a result."""
        return self.results / f"{number:04d}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def remove_strangers(root: Path, known: Collection[str]) -> None:
    """Remove the folders that belong to no known job.

    Args:
        root: The folder of all jobs.
        known: The ids of the known jobs.
    """
    for path in root.iterdir():
        if path.name not in known and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def set_aside(root: Path, name: str) -> None:
    """Move the folders of all jobs aside, for an operator to inspect after damage to the database.

    Args:
        root: The folder of all jobs.
        name: Its new name, in the same place.
    """
    if root.is_dir() and any(root.iterdir()):
        root.rename(root.with_name(name))
