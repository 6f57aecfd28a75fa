"""contrib/mcp.py: by the client of MCP's own SDK, in memory and as a process."""

from __future__ import annotations

import os
import sys

import pytest

pytest.importorskip("mcp.server.mcpserver")

import anyio
import mcp
from made_up import made_up_parsing
from PIL import Image
from stand_in import StandIn, photo

from humanparse.contrib.mcp import Folders, create_server, main
from humanparse.errors import OptionError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos/holiday").mkdir(parents=True)
    (tmp_path / "photos/street.png").write_bytes(photo())
    (tmp_path / "photos/notes.txt").write_text("no picture")
    (tmp_path / "secret.png").write_bytes(photo())
    os.symlink(tmp_path, tmp_path / "photos/out")
    return tmp_path / "photos"


def called(folder, tool: str, **arguments):
    """The result of one call of a tool."""

    async def call():
        async with mcp.Client(create_server([folder], StandIn())) as client:
            return await client.call_tool(tool, arguments)

    return anyio.run(call)


def refused(folder, tool: str, **arguments) -> str:
    result = called(folder, tool, **arguments)
    assert result.is_error
    return result.content[0].text


def test_there_are_two_tools_that_explain_themselves(folder):
    async def listed():
        async with mcp.Client(create_server([folder], StandIn())) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in anyio.run(listed)}
    assert set(tools) == {"parse_photo", "edit_photo"}
    assert "left and right" in tools["parse_photo"].description.casefold()
    assert tools["edit_photo"].input_schema["required"] == ["path", "out"]


def test_a_photo_becomes_people_and_parts_without_masks(folder):
    result = called(folder, "parse_photo", path="street.png")
    found = result.structured_content
    assert not result.is_error and [one["id"] for one in found["people"]] == [1, 2]
    assert found["people"][0]["box"] == list(made_up_parsing().people[0].box_xyxy)
    assert len(found["people"][0]["parts"]) == 6 and "mask" not in str(result)
    again = called(folder, "parse_photo", path=str(folder / "holiday/../street.png"))
    assert again.structured_content == found


def test_an_edit_is_written_and_what_was_not_found_is_said(folder):
    done = called(
        folder,
        "edit_photo",
        path="street.png",
        out="holiday/hidden.jpg",
        blur=["face", "shoes:1"],
        recolour=["upper=#c02020"],
        background="white",
    )
    assert not done.is_error, done
    assert done.structured_content == {
        "out": str(folder.resolve() / "holiday/hidden.jpg"),
        "width": 160,
        "height": 120,
        "missing": ["person 1 has no shoes"],
    }
    with Image.open(folder / "holiday/hidden.jpg") as picture:
        assert picture.format == "JPEG" and min(picture.getpixel((0, 0))) > 250
    behind = called(
        folder, "edit_photo", path="street.png", out="b.png", background="holiday/hidden.jpg"
    )
    assert not behind.is_error, behind


@pytest.mark.parametrize("path", ["../secret.png", "out/secret.png", "/etc/passwd", "a\0b", "."])
def test_paths_outside_of_the_folders_are_refused(folder, path):
    assert "is refused" in refused(folder, "parse_photo", path=path)
    assert "is refused" in refused(folder, "edit_photo", path=path, out="a.png", blur=["face"])
    assert "is refused" in refused(folder, "edit_photo", path="street.png", out=path)
    if path != ".":
        words = refused(
            folder, "edit_photo", path="street.png", out="a.png", background=f"{path}.png"
        )
        assert "is refused" in words
    assert not (folder / "a.png").exists()


def test_what_cannot_be_done_is_said_to_the_assistant(folder):
    assert "expected a picture" in refused(folder, "parse_photo", path="notes.txt")
    assert "No such file" in refused(folder, "parse_photo", path="none.png")
    edit = {"path": "street.png", "out": "a.png"}
    assert "0 edits" in refused(folder, "edit_photo", **edit)
    assert "no region 'nose'" in refused(folder, "edit_photo", **edit, blur=["nose"])
    assert "endings" in refused(folder, "edit_photo", **edit | {"out": "a.gif"}, blur=["face"])
    taken = refused(folder, "edit_photo", **edit | {"out": "street.png"}, blur=["face"])
    assert "another name" in taken and (folder / "street.png").read_bytes() == photo()
    assert "No such file" in refused(
        folder, "edit_photo", **edit | {"out": "x/a.png"}, blur=["face"]
    )


def test_folders_must_exist(folder, capsys):
    with pytest.raises(OptionError, match="no folder was given"):
        Folders([])
    with pytest.raises(SystemExit):
        main([str(folder / "none")])
    assert "is no folder" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_serves_over_stdin_and_stdout(folder):
    command = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "humanparse.contrib.mcp", str(folder)],
        env=dict(os.environ),
    )

    async def call():
        async with mcp.Client(command) as client:
            return await client.call_tool("parse_photo", {"path": "street.png"})

    result = anyio.run(call)
    assert not result.is_error and result.structured_content["model"] == "humanparse-small"
