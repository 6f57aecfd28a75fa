"""rembg's HTTP API: `POST /api/remove` answers the people of a photo, without background, as PNG.

    uvicorn --factory humanparse.contrib.rembg:create_app --port 7000

Source: https://github.com/danielgatis/rembg, `rembg s`. Its parameters that choose a model or tune
alpha matting are accepted and change nothing. `url` is refused: nothing is fetched here.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from humanparse.contrib.web import MAX_BODY_MB, Threads, application
from humanparse.edit.background import cut_out, soft_alpha
from humanparse.formats.pictures import encode_picture
from humanparse.parser import HumanParser
from humanparse.regions import EVERYBODY, select

Rgba = tuple[int, int, int, int]
_YES, _NO = ("1", "true", "on", "yes", "t", "y"), ("0", "false", "off", "no", "f", "n", "")
_MAX_FIELDS = 20  # of a form; rembg has nine


def create_app(parser: HumanParser | None = None, *, max_body_mb: float = MAX_BODY_MB) -> Starlette:
    """Return the application.

    Args:
        parser: What parses; None for the model in the package.
        max_body_mb: The largest body that is read, in MB (1 000 000 bytes).
    """
    parser, threads = parser or HumanParser(), Threads()

    async def remove(request: Request) -> Response:
        async with request.form(max_files=1, max_fields=_MAX_FIELDS) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise HTTPException(422, "there is no file; send the photo as the form field file")
            data = await file.read()
            asked = dict(request.query_params) | {
                name: value for name, value in form.items() if isinstance(value, str)
            }
        only_mask = _yes_or_no("om", asked.get("om", ""))
        behind = _colour(asked["bgc"]) if asked.get("bgc") else None
        png = await threads.run(lambda: removed(parser, data, only_mask, behind))
        return Response(png, media_type="image/png")

    async def fetch(request: Request) -> Response:
        raise HTTPException(
            400, "photos are not fetched from a url; send the file itself with POST /api/remove"
        )

    routes = [
        Route("/api/remove", remove, methods=["POST"]),
        Route("/api/remove", fetch, methods=["GET"]),
    ]
    return application(routes, max_body_mb=max_body_mb, key="detail")


def removed(parser: HumanParser, data: bytes, only_mask: bool, behind: Rgba | None) -> bytes:
    """Return the people of a photo as a PNG file.

    Args:
        parser: What parses.
        data: The photo's file.
        only_mask: Return how much of each pixel belongs to people, in grey, instead.
        behind: Red, green, blue and alpha of what is put behind them, each 0 to 255; None for
            nothing.

    Raises:
        ImageError: The photo cannot be read.
    """
    parsing = parser.parse(data)
    people = select(parsing, EVERYBODY)
    if only_mask:
        return encode_picture(Image.fromarray(soft_alpha(people)), "png")
    picture = Image.fromarray(np.ascontiguousarray(cut_out(parsing.image, people)))
    if behind:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, behind), picture)
    return encode_picture(picture, "png")


def _yes_or_no(name: str, text: str) -> bool:
    if text.lower() not in _YES + _NO:
        raise HTTPException(422, f"{name} is {text[:60]!r}; give true or false")
    return text.lower() in _YES


def _colour(text: str) -> Rgba:
    numbers = [int(one) if one.strip().isdecimal() else 256 for one in text[:60].split(",")]
    if len(numbers) not in (3, 4) or max(numbers) > 255:
        raise HTTPException(
            422, f"bgc is {text[:60]!r}; give red, green, blue and alpha, such as 255,255,255,255"
        )
    red, green, blue, alpha = (*numbers, 255)[:4]
    return red, green, blue, alpha
