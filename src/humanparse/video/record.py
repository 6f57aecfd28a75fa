"""A record of what was parsed, so that a clip that was interrupted is not parsed again.

It holds a line for each frame that was parsed, as the parser found it. Whoever goes on follows and
draws the whole clip anew from it, and so gets the files of an undisturbed run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from humanparse.errors import OptionError
from humanparse.formats import from_json, to_json
from humanparse.result import Parsing
from humanparse.video.clip import Parser


class Recorded:
    """A parser that keeps a record, and begins with what it finds there.

    Args:
        parser: The parser.
        path: The record, which is made if it does not exist.
        identity: What makes two runs equal: the clip, the model, the step between parsed frames.

    Raises:
        OptionError: The record is of another run.
        OSError: It cannot be read or written.

    Attributes:
        found: How many frames are in the record.
    """

    def __init__(self, parser: Parser, path: Path, identity: Mapping[str, Any]):
        self._parser, self._path = parser, path
        self.found = self._prepare(dict(identity))

    def parse_many(self, images: Iterable, *, jobs: int | None = None) -> Iterator[Parsing]:
        """Parse frames in order, the first of them from the record; see `parse_video`."""
        images = iter(images)
        with self._path.open(encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                image = next(images, None)
                if image is None:
                    return
                yield from_json(line, image)
        with (
            self._path.open("a", encoding="utf-8", buffering=1) as file,
            closing(self._parser.parse_many(images, jobs=jobs)) as parsings,  # type: ignore[type-var]
        ):
            for parsing in parsings:
                file.write(to_json(parsing) + "\n")
                yield parsing

    def remove(self) -> None:
        """Delete the record, once the clip is done."""
        self._path.unlink(missing_ok=True)

    def _prepare(self, identity: dict[str, Any]) -> int:
        """Begin the record, or check it and cut off a line that was not finished."""
        if not self._path.exists():
            self._path.write_text(json.dumps(identity) + "\n", encoding="utf-8")
            return 0
        with self._path.open("r+b") as file:
            first = file.readline()
            if first != json.dumps(identity).encode() + b"\n":
                raise OptionError(
                    f"{self._path} is the record of another clip, model or step; delete it, or "
                    "leave out --resume"
                )
            whole, count = file.tell(), 0
            for line in file:
                if line.endswith(b"\n"):
                    whole, count = whole + len(line), count + 1
            file.truncate(whole)
        return count
