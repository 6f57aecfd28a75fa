"""The files of a job, in a folder of its own whose name only we choose:

    <root>/<id>/upload.zip             an archive that is not unpacked yet
    <root>/<id>/inputs/0000.bin, …     pictures that are not parsed yet
    <root>/<id>/results/0000, …        finished answers

A folder without a row in the database is an upload that was cut off, or a job on its way out: it is
removed at start.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from humanparse.system.files import sync_folder, write_private

GONE = "gone-"


class JobFiles:
    """The folder of the job `id` inside `root`."""

    def __init__(self, root: Path, id: str):
        self.id = id
        self._root = root
        self.folder = root / id
        self.archive, self.inputs, self.results = (
            self.folder / "upload.zip",
            self.folder / "inputs",
            self.folder / "results",
        )

    def create(self) -> None:
        for folder in (self.folder, self.inputs, self.results):
            folder.mkdir(mode=0o700)

    def make_durable(self) -> None:
        """After the uploaded files themselves: their names."""
        for folder in (self.inputs, self.folder, self._root):
            sync_folder(folder)

    def empty_inputs(self) -> None:
        """Remove what an unpacking that was cut off has left; so may this have been."""
        shutil.rmtree(self.inputs, ignore_errors=True)
        self.inputs.mkdir(mode=0o700, exist_ok=True)

    def input(self, number: int) -> Path:
        return self.inputs / f"{number:04d}.bin"

    def read_input(self, number: int, size: int) -> bytes:
        """A picture's bytes. Raises FileNotFoundError if it is not there, or not as long as it
        was."""
        data = self.input(number).read_bytes()
        if len(data) != size:
            raise FileNotFoundError(f"an input has {len(data)} bytes and should have {size}")
        return data

    def drop_input(self, number: int) -> None:
        with suppress(OSError):  # what stays goes with the job
            self.input(number).unlink()

    def archive_bytes(self) -> int:
        """Its size; 0 where it is gone."""
        try:
            return self.archive.stat().st_size
        except OSError:
            return 0

    def drop_archive(self) -> None:
        with suppress(OSError):
            self.archive.unlink()

    def write_result(self, number: int, body: bytes) -> None:
        """Replaces an earlier result of that number. Raises OSError."""
        # should somebody have tidied up
        self.results.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._result(number), body)

    def read_result(self, number: int) -> bytes:
        """Raises FileNotFoundError."""
        return self._result(number).read_bytes()

    def remove(self) -> None:
        """Take the folder away under another name first, so that nothing still at work can write
        into it."""
        with suppress(FileNotFoundError):
            os.rename(self.folder, gone := self._root / f"{GONE}{self.id}")
            shutil.rmtree(gone, ignore_errors=True)

    def _result(self, number: int) -> Path:
        return self.results / f"{number:04d}"


def remove_strangers(root: Path, known: Collection[str]) -> None:
    """Remove the folders of no known job."""
    for path in root.iterdir():
        if path.name not in known and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def set_aside(root: Path, name: str) -> None:
    """Keep the folders of jobs whose database is damaged, beside their root: an operator may want
    to look."""
    if root.is_dir() and any(root.iterdir()):
        root.rename(root.with_name(name))
