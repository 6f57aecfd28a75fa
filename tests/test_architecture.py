"""The structure: imports point downwards, and importing humanparse costs next to nothing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import humanparse

ROOT = Path(humanparse.__file__).parent
LEVELS = {
    "extras": -2,
    "vocabulary": -2,
    "errors": -1,
    "system": 0,
    "arguments": 0,
    "labels": 0,
    "image": 1,
    "masks": 1,
    "webpage": 1,
    "preprocess": 2,
    "result": 2,
    "search": 2,
    "model": 2,
    "card": 3,
    "regions": 3,
    "engines": 3,
    "postprocess": 3,
    "render": 3,
    "weights": 4,
    "coarse": 4,
    "tryon": 4,
    "graph": 4,
    "edit": 4,
    "pipeline": 4,
    "evaluation": 4,
    "tta": 4,
    "formats": 5,
    "parser": 5,
    "export": 6,
    "video": 6,
    "batch": 6,
    "training": 7,
    "service": 7,
    "ray": 8,
    "bench": 8,
    "doctor": 8,
    "contrib": 8,
    "cli": 9,
    "__main__": 10,
    "__pyinstaller": 10,
}
SERVICE = ROOT / "service"
SERVICE_LEVELS = {  # modules and folders of the service; those of one level are strangers
    "names": 0,
    "problems": 0,
    "clock": 0,
    "budget": 0,
    "settings": 1,
    "options": 2,
    "logs": 2,
    "metrics": 2,
    "paths": 2,
    "signals": 2,
    "listener": 3,
    "schemas": 4,
    "http": 4,
    "work": 4,
    "cache": 4,
    "page": 4,
    "child": 5,
    "api": 6,
    "jobs": 7,
    "app": 8,
    "server": 9,
    "start": 10,
}
DOORS = {  # the exceptions: (file, what it may import)
    # the short methods of Parsing, explained there
    ("result.py", "render"),
    ("result.py", "formats"),
    ("result.py", "edit"),
    ("parser.py", "export"),  # HumanParser.pull downloads and converts; nothing else there does
}


def modules() -> list[Path]:
    return [path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"]


def rooms_imported(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [node.module]
                if node.module != "humanparse"
                else [f"humanparse.{alias.name}" for alias in node.names]
            )
        rooms |= {name.split(".")[1] for name in names if name.startswith("humanparse.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    upward = {
        other for other in rooms_imported(path) if other != room and LEVELS[other] >= LEVELS[room]
    }
    assert upward <= {other for file, other in DOORS if file == path.relative_to(ROOT).as_posix()}


def service_modules() -> list[Path]:
    return [
        path for path in SERVICE.rglob("*.py") if path.parent != SERVICE or path.stem != "__init__"
    ]


def service_rooms_imported(path: Path) -> set[str]:
    """The modules and folders of the service that one of its modules imports."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.startswith("humanparse.service")
        ):
            within = node.module.split(".")[2:]
            rooms |= {within[0]} if within else {alias.name for alias in node.names}
    return rooms


@pytest.mark.parametrize("path", service_modules(), ids=lambda path: str(path.relative_to(SERVICE)))
def test_imports_inside_the_service_point_downwards(path):
    room = path.relative_to(SERVICE).parts[0].removesuffix(".py")
    upward = {
        other
        for other in service_rooms_imported(path)
        if other != room and SERVICE_LEVELS[other] >= SERVICE_LEVELS[room]
    }
    assert not upward


def test_only_the_child_imports_photos_and_nothing_in_the_service_imports_engines():
    for path in service_modules():
        seen = rooms_imported(path)
        assert not seen & {"engines", "pipeline", "tta", "evaluation"}, path
        if path.parent.name != "child":
            assert not seen & {
                "parser",
                "formats",
                "render",
                "image",
                "masks",
                "result",
                "postprocess",
                "edit",
                "regions",
                "video",
            }, path


def test_the_server_imports_only_one_name_of_the_child():
    for path in service_modules():
        if path.parent.name != "child" and "child" in service_rooms_imported(path):
            text = path.read_text()
            assert "from humanparse.service.child.archive import ENTRIES\n" in text, path
            assert text.count("humanparse.service.child") == 1, path


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_humanparse_loads_nothing_heavy():
    loaded = imported_by("import humanparse")
    assert loaded.isdisjoint(
        {"torch", "onnxruntime", "cv2", "numpy", "PIL", "fastapi", "uvicorn", "typer", "rich"}
    )


def test_parsing_loads_no_torch_and_no_web_framework():
    loaded = imported_by("from humanparse import HumanParser; HumanParser()")
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint({"torch", "fastapi", "uvicorn", "typer", "rich"})


def test_public_names_are_there():
    for name in humanparse.__all__:
        assert getattr(humanparse, name) is not None
    assert set(humanparse.__all__) <= set(dir(humanparse))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = humanparse.Nothing


def test_every_room_stands_in_the_manual_and_every_file_it_names_is_there():
    text = (ROOT.parents[1] / "docs/architecture.md").read_text(encoding="utf-8")
    rooms = {path.name for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    unsaid = {
        room
        for room in rooms - {"__init__.py", "__main__.py", "__pycache__"}
        if f"`{room}" not in text
    }
    assert not unsaid
    names = {path.name for path in ROOT.rglob("*") if path.suffix in (".py", ".js", ".html")}
    named = re.findall(r"`(?:[\w/]+/)?(\w+\.(?:py|js|html))`", text)
    assert len(named) > 100 and not set(named) - names - {"test_architecture.py"}
