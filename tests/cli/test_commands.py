"""The other commands, the help, and the command line as a process of its own."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import LONG_S, until

import humanparse
from humanparse.cli import demo
from humanparse.formats import FORMATS
from humanparse.labels import LIP
from humanparse.system.packaged import packaged

TESTS = Path(__file__).parents[1]
COMMANDS = ("parse", "batch", "demo", "labels", "version")

SLOW_PARSER = f"""
import sys, time
sys.path.insert(0, {str(TESTS)!r})
from made_up import empty_parsing
from humanparse.cli import main, parse

class SlowParser:
    def parse(self, image, *, name):
        time.sleep(0.1)
        return empty_parsing(name=name)

parse.load_parser = lambda model=None, **options: SlowParser()
main()
"""


def test_humanparse_alone_prints_the_help(run):
    result = run()
    assert result.exit_code == 0
    assert all(command in result.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(run, command):
    assert f"humanparse {command}" in run(command, "--help").stdout


def test_the_help_of_parse_lists_the_exit_codes(run):
    assert re.search(
        r"^\s+3\s+the model cannot be loaded, or a package is missing$",
        run("parse", "--help").stdout,
        re.MULTILINE,
    )


def test_the_manual_explains_every_option(run):
    manual = (TESTS.parent / "docs/cli.md").read_text("utf-8")
    for command in ((), *((name,) for name in COMMANDS)):
        options = re.findall(r"--[a-z][a-z-]+", run(*command, "--help").stdout)
        assert [option for option in options if option not in manual] == []


def test_the_manual_explains_every_format():
    manual = (TESTS.parent / "docs/cli.md").read_text("utf-8")
    assert [
        name for name, one in FORMATS.items() if f"| `{name}` | `{one.suffix}` |" not in manual
    ] == []


def test_version_tells_of_the_packages(run):
    lines = run("version").stdout.splitlines()
    assert lines[0] == f"humanparse {humanparse.__version__}"
    assert lines[1].startswith(f"python {platform.python_version()}")
    assert [line.split()[0] for line in lines] == [
        "humanparse",
        "python",
        "numpy",
        "onnxruntime",
        "opencv",
    ]
    assert run("--version").stdout.splitlines() == lines


def test_labels_of_a_set_show_numbers_colours_and_the_other_side(run, parser):
    result = run("labels", "--set", "lip")
    assert result.exit_code == 0
    colour = "#{:02x}{:02x}{:02x}".format(*LIP.palette()[14])
    assert re.search(rf"14\s+{colour}\s+Left-arm\s+15 Right-arm", result.stdout)
    assert parser.loaded == []


def test_labels_of_a_model_are_those_it_says(run, parser):
    assert "Torso-skin" in run("labels", "--model", "m").stdout
    assert parser.loaded == [("m", {})]


@pytest.mark.parametrize(
    "arguments", [("--set", "coco"), ("--set", "lip", "--model", "m"), ("--palette", "pink")]
)
def test_impossible_labels_end_with_2(run, arguments):
    result = run("labels", *arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_demo_parses_both_photos_and_says_what_to_do_next(run, written):
    result = run("demo", "-o", "out")
    assert result.exit_code == 0, result.stderr
    assert len(written("out")) == 8
    assert re.search(r"astronaut\s+1\s+Face", result.stdout)
    assert "humanparse parse" in result.stdout
    assert f"look at {Path('out/astronaut.overlay.png')} first" in result.stdout


def test_the_photos_of_the_demo_are_small_and_explained():
    folder = packaged("cli/demo")
    assert sum((folder / name).stat().st_size for name in demo.PHOTOS) < 150_000
    notice = (folder / "README.txt").read_text("utf-8")
    assert all(name in notice for name in demo.PHOTOS)


def test_the_help_starts_without_heavy_imports():
    code = """if True:
        import sys
        from humanparse.cli import main
        sys.argv = ["humanparse", "parse", "--help"]
        try:
            main()
        except SystemExit:
            pass
        print("heavy:", *{"numpy", "cv2", "onnxruntime", "PIL", "rich", "torch"} & set(sys.modules))
    """
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert result.stdout.splitlines()[-1] == "heavy:"


def test_python_dash_m_is_the_same_command(here):
    result = subprocess.run(
        [sys.executable, "-m", "humanparse", "parse", "nowhere.jpg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == "humanparse: there is no file or folder 'nowhere.jpg'\n"


def slow_run(*arguments, **more) -> subprocess.Popen:
    """A command with a parser that takes a while."""
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_PARSER, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **more,
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_no_character_of_a_line_or_a_name_ends_a_run(photo, here, encoding):
    for name in ("a.jpg", "照.jpg", "z.jpg"):
        photo(f"photos/{name}")
    options = ("parse", "photos", "--format", "json", "--jobs", "1")
    surroundings = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"}
    with slow_run(*options, env=surroundings) as process:
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert stdout.splitlines()[0] == f"{Path('photos/a.jpg')}  0 people  -> {Path('photos/a.json')}"
    assert "\\u7167.jpg  0 people" in stdout
    assert len(list(here.glob("photos/*.json"))) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix closes the stream")
def test_a_picture_from_a_closed_stdin_is_bad_usage(here):
    command = ["sh", "-c", 'exec "$0" -m humanparse parse - <&-', sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "stdin is closed" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_sigterm_ends_a_run_like_ctrl_c(photo, here):
    for number in range(60):
        photo(f"photos/{number:02}.jpg")
    with slow_run("parse", "photos", "--jobs", "2", "--format", "json") as process:
        process.stdout.readline()
        process.terminate()
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.endswith("the same command with --skip-existing continues\n")
    assert 0 < len(list(here.glob("photos/*.json"))) < 60


READS_A_PIPE = """
def read_for_ever(self, image, *, name):
    open(image, "rb").close()
    return empty_parsing(name=name)

SlowParser.parse = read_for_ever
"""


@contextmanager
def stuck_run(photo, here, patience_s: float):
    """A run that has done one photo and waits for another, a pipe that nobody writes to."""
    photo("a.jpg")
    os.mkfifo(here / "pipe.jpg")
    first = f"from humanparse.cli import interrupts\ninterrupts.PATIENCE_S = {patience_s}\n"
    program = first + SLOW_PARSER.replace("main()", READS_A_PIPE + "main()")
    words = ["parse", "a.jpg", "pipe.jpg", "--jobs", "2", "--format", "json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program, *words], text=True, **pipes) as process:
        assert process.stdout.readline().startswith("a.jpg")
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes differ")
def test_a_photo_that_is_never_read_to_its_end_holds_the_process_for_a_while_only(photo, here):
    with stuck_run(photo, here, patience_s=0.1) as process:
        process.terminate()
        _, stderr = process.communicate(timeout=LONG_S)
    assert process.returncode == 130 and "did not end in time" in stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes differ")
def test_a_second_signal_ends_the_process_at_once(photo, here):
    with stuck_run(photo, here, patience_s=1000) as process:
        until(lambda: process.poll() is not None or process.terminate(), "its end")
        assert process.returncode == 130 and "interrupted twice" in process.stderr.read()


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_a_run_broken_off_by_ctrl_c_goes_on_with_skip_existing(photo, here, run, parser):
    for number in range(60):
        photo(f"photos/{number:02}.jpg")
    with slow_run("parse", "photos", "--jobs", "2", "--format", "json") as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.fullmatch(
        r"interrupted after \d+ of 60 photos; the same command with --skip-existing continues\n",
        stderr,
    )
    done = len(list(here.glob("photos/*.json")))
    assert 0 < done < 60
    assert run("parse", "photos", "--format", "json", "--skip-existing").exit_code == 0
    assert len(parser.seen) == 60 - done


@pytest.mark.skipif(sys.platform == "win32", reason="pipes differ")
def test_a_reader_that_goes_away_ends_the_run_quietly(photo, here):
    for number in range(60):
        photo(f"photos/{number:02}.jpg")
    with slow_run("parse", "photos", "--format", "json") as process:
        process.stdout.readline()
        process.stdout.close()
        stderr = process.stderr.read()
    assert (process.returncode, stderr) == (141, "")
