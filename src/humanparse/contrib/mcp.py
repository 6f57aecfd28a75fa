"""An MCP server: assistants parse and edit photos in the folders that they are given.

    python -m humanparse.contrib.mcp ~/Pictures

Needs the package mcp. It talks over stdin and stdout, as the host that starts it expects. Paths
outside of the folders are refused, also through links, and no file is ever replaced.

Source: https://modelcontextprotocol.io
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from anyio import CapacityLimiter, to_thread

from humanparse.edit import edit, step
from humanparse.errors import HumanParseError, MissingExtra, OptionError
from humanparse.formats import encode_picture, to_dict
from humanparse.image import read_image
from humanparse.parser import HumanParser

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError as error:
    raise MissingExtra("the MCP server needs the package mcp", "mcp") from error

KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
Result = TypeVar("Result")


class Folders:
    """The folders below which files are read and written.

    Args:
        folders: One or more that exist.

    Raises:
        OptionError: One of them is no folder, or there is none.
    """

    def __init__(self, folders: Sequence[str | Path]):
        if missing := [str(one) for one in folders if not Path(one).is_dir()]:
            raise OptionError(f"{missing[0]!r} is no folder; give folders that exist")
        if not folders:
            raise OptionError("no folder was given; give one whose photos may be read")
        self._roots = [Path(one).resolve() for one in folders]

    def path(self, text: str) -> Path:
        """Return the whole path of a file, which need not exist. A relative path begins in the
        first folder.

        Raises:
            OptionError: It lies, or a link leads, outside of the folders.
        """
        try:
            path = (self._roots[0] / text).resolve()
        except (OSError, ValueError, RuntimeError):  # a NUL, links in a circle
            path = Path("/")
        if not any(path.is_relative_to(root) and path != root for root in self._roots):
            roots = ", ".join(map(str, self._roots))
            raise OptionError(f"{text[:200]!r} is refused; give a file below {roots}")
        return path


def create_server(folders: Sequence[str | Path], parser: HumanParser | None = None) -> MCPServer:
    """Return the server, with its two tools.

    Args:
        folders: Those below which photos may be read and written.
        parser: What parses; None for the model in the package.

    Raises:
        OptionError: A folder does not exist.
    """
    allowed, parser = Folders(folders), parser or HumanParser()
    limiter = CapacityLimiter(1)  # a photo at a time, on all cores
    server: MCPServer = MCPServer("humanparse", instructions=_INSTRUCTIONS)

    async def run(work: Callable[[], Result]) -> Result:
        try:
            return await to_thread.run_sync(work, limiter=limiter)
        except HumanParseError as error:
            raise ToolError(str(error)) from error
        except OSError as error:
            raise ToolError(f"{error.filename or 'the file'}: {error.strerror}") from error

    @server.tool()
    async def parse_photo(path: str) -> dict[str, Any]:
        """Find the people of a photo, with their body parts and garments.

        path: the photo's file. Returns people from left to right, each with id, box (x0, y0, x1,
        y1 in pixels), area in pixels and parts. Left and right are the person's own.
        """
        return await run(lambda: parsed(parser, allowed.path(path)))

    @server.tool()
    async def edit_photo(
        path: str,
        out: str,
        blur: list[str] | None = None,
        pixelate: list[str] | None = None,
        fill: list[str] | None = None,
        recolour: list[str] | None = None,
        background: str | None = None,
        cutout: list[str] | None = None,
        crop: str | None = None,
        people: list[int] | None = None,
        without_people: list[int] | None = None,
        strength: float = 1.0,
    ) -> dict[str, Any]:
        """Write an edited copy of a photo.

        out: the new file, .png, .jpg or .webp, which must not exist. Regions are texts such as
        "face", "head:2" (of person 2), "person - face" or "upper grow=2%"; names are person, face,
        hair, head, skin, clothes, upper, lower, dress, arms, legs, shoes, accessories and the
        labels of parse_photo. fill and recolour take a region and a colour: "upper:1=#c02020".
        background is "blur", a colour or a picture's file. cutout makes all else transparent, crop
        cuts to the region's box. people are the ids of those whom all this is done to, or
        without_people of those whom it is not done to; regions such as "head:2" keep theirs.
        strength, 0.1 to 10, is that of blur and pixelate. Returns the file, its size, and under
        "missing" what was not found: tell the user of it.
        """
        asked: dict[str, list[str]] = {
            "blur": blur or [],
            "pixelate": pixelate or [],
            "fill": fill or [],
            "recolour": recolour or [],
            "background": [background] if background else [],
            "cutout": cutout or [],
            "crop": [crop] if crop else [],
        }
        options = {"people": people, "without_people": without_people, "strength": strength}
        return await run(lambda: written(parser, allowed, path, out, asked, **options))

    return server


def parsed(parser: HumanParser, path: Path) -> dict[str, Any]:
    """Return the people, parts, boxes and scores of a photo, without masks.

    Raises:
        ImageError, OSError: The photo cannot be read.
    """
    return to_dict(parser.parse(path), masks=False)


def written(
    parser: HumanParser,
    folders: Folders,
    path: str,
    out: str,
    asked: dict[str, list[str]],
    **options: Any,
) -> dict[str, Any]:
    """Write an edited photo.

    Args:
        parser: What parses.
        folders: Those below which all files must lie.
        path: The photo.
        out: The new file.
        asked: The texts of each operation, by its name, as `humanparse.edit.step` takes them.
        **options: Those of `humanparse.edit.edit`.

    Returns:
        {"out", "width", "height", "missing"}.

    Raises:
        OptionError: A path, the file's ending or an edit is not possible.
        ImageError, OSError: A photo cannot be read, or the file not be written.
    """
    source, target = folders.path(path), folders.path(out)
    kind = KINDS.get(target.suffix.lower())
    if kind is None:
        raise OptionError(f"out is {out[:200]!r}; give it one of the endings {', '.join(KINDS)}")
    if target.exists():
        raise OptionError(f"there is a file {out[:200]!r} already; choose another name")
    steps = [step(name, text) for name, texts in asked.items() for text in texts]

    def read(file: str) -> np.ndarray:
        return read_image(folders.path(file)).pixels

    done = edit(parser.parse(source), steps, **options, read=read)
    data = encode_picture(done.image, kind)
    with open(target, "xb") as file:
        file.write(data)
    width, height = done.image.size
    return {"out": str(target), "width": width, "height": height, "missing": list(done.missing)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve over stdin and stdout until stdin ends."""
    options = argparse.ArgumentParser(
        prog="python -m humanparse.contrib.mcp", description="An MCP server that parses photos."
    )
    options.add_argument("folders", nargs="+", help="folders whose photos may be read and written")
    options.add_argument(
        "--model", help="a model's name or file, instead of the one in the package"
    )
    asked = options.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)  # stdout belongs to the protocol
    try:
        server = create_server(asked.folders, HumanParser(asked.model))
    except HumanParseError as error:
        options.error(str(error))
    server.run("stdio")


_INSTRUCTIONS = (
    "Finds people, body parts and garments in photos, and edits photos by them. Hiding people is "
    "not perfect: somebody who was not found stays visible, so tell the user to look at the result."
)

if __name__ == "__main__":
    main()
