"""A machine learning backend for Label Studio: predictions of people's parts, to be corrected.

    uvicorn --factory humanparse.contrib.label_studio:create_app --port 9090

Pictures arrive in the task itself, as base64 or data URL, or lie in folders that `create_app` is
given. Nothing is fetched from other addresses.

Source: https://github.com/HumanSignal/label-studio-ml-backend, `label_studio_ml/api.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from humanparse.arguments import folder_path
from humanparse.contrib.web import (
    MAX_BODY_MB,
    Threads,
    application,
    decoded,
    json_object,
    status_of,
)
from humanparse.errors import HumanParseError
from humanparse.formats.label_studio import FROM_NAME, TO_NAME, to_label_studio
from humanparse.parser import HumanParser

MAX_CONFIG = 100_000  # letters of a labelling interface
MAX_TASKS = 1_000  # of one request
_CONTROLS = {"BrushLabels": "brush", "PolygonLabels": "polygons"}
_UPLOAD, _LOCAL = "/data/upload/", "/data/local-files/"


@dataclass(frozen=True)
class Interface:
    """What of a project's labelling interface matters here.

    Attributes:
        kind: "brush" or "polygons".
        from_name: The name of the control of labels.
        to_name: The name of the picture.
        key: The key of a task's data that holds the picture.
        labels: The names of the labels; empty for any.
    """

    kind: str = "brush"
    from_name: str = FROM_NAME
    to_name: str = TO_NAME
    key: str = "image"
    labels: frozenset[str] = frozenset()


def create_app(
    parser: HumanParser | None = None,
    *,
    uploads: str | Path | None = None,
    local_files: str | Path | None = None,
    max_body_mb: float = MAX_BODY_MB,
) -> Starlette:
    """Return the application.

    Args:
        parser: What parses; None for the model in the package.
        uploads: Label Studio's folder of uploaded files, `media/upload` in its data folder, in
            which pictures at `/data/upload/…` are found; None refuses them.
        local_files: The folder of its local storage, in which pictures at
            `/data/local-files/?d=…` are found; None refuses them.
        max_body_mb: The largest body that is read, in MB (1 000 000 bytes).
    """
    parser, threads = parser or HumanParser(), Threads()
    folders = {
        prefix: folder_path(name, folder).resolve()
        for prefix, name, folder in (
            (_UPLOAD, "uploads", uploads),
            (_LOCAL, "local_files", local_files),
        )
        if folder is not None
    }

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "UP", "model_class": "HumanParser"})

    async def setup(request: Request) -> Response:
        body = await json_object(request)
        if body.get("schema"):
            interface_of(body["schema"])  # raises now for one that has no place for our labels
        return JSONResponse({"model_version": parser.name})

    async def predict(request: Request) -> Response:
        body = await json_object(request)
        tasks = body.get("tasks")
        if not isinstance(tasks, list) or len(tasks) > MAX_TASKS:
            raise HTTPException(400, f"tasks is no list of at most {MAX_TASKS} tasks")
        config = body.get("label_config")
        interface = interface_of(config) if config else Interface()
        results = []
        for task in tasks:
            work = partial(_predicted, parser, task, interface, folders)
            results.append(await threads.run(work))
        return JSONResponse({"results": results, "model_version": parser.name})

    async def webhook(request: Request) -> Response:
        await json_object(request)  # nothing is learnt from annotations
        return JSONResponse({"status": "Unknown event"})

    routes = [
        Route("/", health, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/setup", setup, methods=["POST"]),
        Route("/predict", predict, methods=["POST"]),
        Route("/webhook", webhook, methods=["POST"]),
    ]
    return application(routes, max_body_mb=max_body_mb)


def interface_of(config: Any) -> Interface:
    """Read a labelling interface, XML.

    Raises:
        HTTPException: It is no XML (400), or has no BrushLabels or PolygonLabels for a picture
            (422).
    """
    if not isinstance(config, str) or len(config) > MAX_CONFIG or "<!" in _without_comments(config):
        raise HTTPException(400, "the labelling interface is no XML that is read here")
    try:
        root = ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError) as error:
        raise HTTPException(400, f"the labelling interface is no XML: {error}") from error
    pictures = {one.get("name", ""): one.get("value", "") for one in root.iter("Image")}
    for control in root.iter():
        if control.tag in _CONTROLS and control.get("toName") in pictures:
            to_name = control.get("toName", "")
            return Interface(
                _CONTROLS[control.tag],
                control.get("name", ""),
                to_name,
                pictures[to_name].removeprefix("$"),
                frozenset(one.get("value", "") for one in control.iter("Label")),
            )
    raise HTTPException(
        422,
        "the labelling interface has neither BrushLabels nor PolygonLabels of an Image; "
        "humanparse.formats.label_studio.label_studio_config writes one that has",
    )


def _without_comments(config: str) -> str:
    return re.sub(r"<!--.*?-->", "", config, flags=re.DOTALL)


def _predicted(
    parser: HumanParser, task: Any, interface: Interface, folders: dict[str, Path]
) -> dict[str, Any]:
    """The prediction of one task. Its number, if it has one, begins the message of an error."""
    number = task.get("id") if isinstance(task, dict) else None
    which = f"task {number}" if isinstance(number, int) else "a task"
    try:
        data = task.get("data") if isinstance(task, dict) else None
        picture = data.get(interface.key) if isinstance(data, dict) else None
        if not isinstance(picture, str) or not picture:
            raise HTTPException(400, f"there is no picture in its data under {interface.key!r}")
        prediction = to_label_studio(parser.parse(_bytes_of(picture, folders)), interface.kind)
    except HTTPException as error:
        raise HTTPException(error.status_code, f"{which}: {error.detail}") from error
    except HumanParseError as error:
        raise HTTPException(status_of(error), f"{which}: {error}") from error
    prediction["result"] = [
        one | {"from_name": interface.from_name, "to_name": interface.to_name}
        for one in prediction["result"]
        if not interface.labels or set(one["value"][one["type"]]) <= interface.labels
    ]
    return prediction


def _bytes_of(picture: str, folders: dict[str, Path]) -> bytes:
    """The bytes of a task's picture."""
    if picture.startswith(_UPLOAD):
        return _read(_UPLOAD, unquote(urlsplit(picture).path.removeprefix(_UPLOAD)), folders)
    if picture.startswith(_LOCAL):
        below = parse_qs(urlsplit(picture).query).get("d", [""])[0]
        return _read(_LOCAL, below, folders)
    if picture.startswith("/") and not picture.startswith("/9j/"):  # a JPEG in base64 begins so
        raise HTTPException(400, f"pictures are not read from {picture[:60]!r}; use {_UPLOAD}…")
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", picture):
        raise HTTPException(
            400,
            f"pictures are not fetched from {picture.partition('?')[0][:60]!r}; put base64 or a "
            f"data URL into the task, or use files at {_UPLOAD} or {_LOCAL}",
        )
    return decoded(picture, "its picture")


def _read(prefix: str, below: str, folders: dict[str, Path]) -> bytes:
    folder = folders.get(prefix)
    if folder is None:
        name = "uploads" if prefix == _UPLOAD else "local_files"
        raise HTTPException(
            403, f"files at {prefix} are not read; start the application with {name}=…"
        )
    try:
        file = (folder / below).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise HTTPException(404, f"there is no file {below[:60]!r} in the folder of {prefix}")
        return file.read_bytes()
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        raise HTTPException(
            404, f"the file {below[:60]!r} in the folder of {prefix} cannot be read"
        ) from error
