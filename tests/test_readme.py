"""What README and docs show is run: python blocks, and the humanparse lines of sh blocks."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from coloured_clips import write_clip
from PIL import Image
from remembering import remembering

import humanparse.parser

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "src/humanparse/cli/demo/astronaut.jpg"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list:
    found = []
    for page in PAGES:
        for number, match in enumerate(
            re.finditer(rf"```{language}\n(.*?)```", page.read_text(), re.S)
        ):
            found.append(pytest.param(match[1], id=f"{page.name}-{language}-{number}"))
    return found


@pytest.fixture(scope="module", autouse=True)
def one_look():
    """Nearly all examples parse the same photo: the network looks at it once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(humanparse.parser, "open_engine", remembering(humanparse.parser.open_engine))
        yield


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the photos that the examples name."""
    (tmp_path / "photos/holiday").mkdir(parents=True)
    shutil.copy(PHOTO, tmp_path / "street.jpg")
    shutil.copy(PHOTO, tmp_path / "photos/holiday/street.jpg")
    _film(tmp_path / "street.mp4")
    _label_by_hand(tmp_path / "my-photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _film(path: Path) -> None:
    """A clip of three frames that pan over the photo."""
    with Image.open(PHOTO) as photo:
        small = photo.convert("RGB").resize((200, 200))
    write_clip(path, [np.asarray(small.crop((x, 0, x + 180, 200))) for x in (0, 5, 10)])


def _label_by_hand(folder: Path) -> None:
    """A data set of one photo in the plain layout, whose person is a box with a face."""
    (folder / "images").mkdir(parents=True)
    shutil.copy(PHOTO, folder / "images/street.jpg")
    with Image.open(PHOTO) as photo:
        width, height = photo.size
    for name, person, face in (("labels", 5, 13), ("persons", 1, 1)):
        (folder / name).mkdir()
        picture = Image.new("L", (width, height))
        picture.paste(person, (width // 8, height // 8, width, height))
        picture.paste(face, (width // 3, height // 8, width // 2, height // 3))
        picture.save(folder / name / "street.png")


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(desk, code):
    exec(compile(code, "example", "exec"), {})


def humanparse_lines() -> list[str]:
    lines = [line.strip() for block in blocks("sh") for line in block.values[0].splitlines()]
    return [line for line in lines if line.startswith("humanparse ")]


@pytest.mark.slow
@pytest.mark.parametrize("line", dict.fromkeys(humanparse_lines()))
def test_command_examples_run(desk, line):
    from typer.testing import CliRunner

    from humanparse.cli import app

    result = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
    assert result.exit_code == 0, result.output


def test_there_are_examples_to_run():
    assert len(blocks("python")) >= 1 and len(humanparse_lines()) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_no_placeholder_is_left_behind():
    for page in PAGES:
        assert not re.search(r"\b[A-Z]+_(TABLE|TEXT|MB)\b", page.read_text()), page.name
