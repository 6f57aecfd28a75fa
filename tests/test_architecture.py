"""The house as it is described: imports point downwards, and importing humanparse costs next to nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import humanparse

ROOT = Path(humanparse.__file__).parent
LEVELS = {
    "extras": -2, "errors": -1,
    "arguments": 0, "packaged": 0, "cores": 0, "labels": 0, "quiet": 0, "streams": 0,
    "cluster": 1, "files": 1, "image": 1, "many": 1, "masks": 1, "text": 1,
    "preprocess": 2, "result": 2, "search": 2, "model": 2,
    "postprocess": 3, "formats": 3, "render": 3, "engines": 3, "weights": 3,
    "convert": 4, "evaluation": 4, "tta": 4, "parser": 5, "batch": 6, "training": 6, "service": 6, "deployment": 6,
    "scale": 7, "bench": 7, "doctor": 7, "cli": 8, "__main__": 9, "__pyinstaller": 9,
}
DOORS = {
    ("result.py", "render"), ("result.py", "formats"),  # the short methods of Parsing, explained there
    ("formats/__init__.py", "render"), ("formats/pictures.py", "render"), ("labels.py", "errors"),  # next door, one way
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
            names = [node.module] if node.module != "humanparse" else [f"humanparse.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("humanparse.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    upward = {other for other in rooms_imported(path) if other != room and LEVELS[other] >= LEVELS[room]}
    assert upward <= {other for file, other in DOORS if file == path.relative_to(ROOT).as_posix()}


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_humanparse_loads_nothing_heavy():
    loaded = imported_by("import humanparse")
    assert loaded.isdisjoint({"torch", "onnxruntime", "cv2", "numpy", "PIL", "fastapi", "uvicorn", "typer", "rich"})


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
