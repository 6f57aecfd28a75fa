"""`humanparse models`: what the user reads, and what becomes of the files."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hub_server import HubServer, breaks_off, stalls, status
from onnx import TensorProto, helper
from waiting import LONG_S, until

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.cli import models
from humanparse.errors import BrokenModel, OptionError, UnknownModel
from humanparse.export import fetch
from humanparse.extras import install_line
from humanparse.labels import CIHP
from humanparse.parser import HumanParser
from humanparse.preprocess import Preprocess
from humanparse.system.home import home
from humanparse.weights import store
from humanparse.weights.catalog import DEFAULT_MODEL
from humanparse.weights.hub import CHECKPOINT, CONFIGURATION, HUB

MODEL = HUB["m2fp-r101-cihp"]
DATA = bytes(range(256)) * 40
COMMANDS = ("list", "pull", "verify", "remove", "path")


@pytest.fixture
def hub(here, monkeypatch):
    monkeypatch.setenv("HUMANPARSE_HOME", str(here / "home"))
    for name in (
        "HUMANPARSE_OFFLINE",
        "HUMANPARSE_ACCEPT_LICENCE",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    with HubServer({CHECKPOINT: DATA, CONFIGURATION: b"{}"}) as hub:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def convert(monkeypatch):
    """A conversion that writes a tiny model, instead of PyTorch's; its list holds the checkpoints
    it was given."""
    given = []

    def tiny(checkpoint: Path, out: Path) -> None:
        given.append(checkpoint)
        write_tiny_model(out)

    monkeypatch.setattr(fetch, "convert", tiny)
    return given


def write_tiny_model(out: Path) -> None:
    """An .onnx file that opens, with M2FP's outputs and nobody in any photo."""
    values = {
        "pred_logits": np.zeros((1, 2, 22), np.float32),
        "pred_masks": np.zeros((1, 2, 8, 8), np.float32),
    }
    nodes = [
        helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(v))
        for name, v in values.items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, v.shape)
        for name, v in values.items()
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, None, None])
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", [pixels], outputs),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 8
    card = ModelCard(
        MODEL.name, CIHP, "queries", Preprocess((0, 0, 0), (1, 1, 1), short_side=32), "CC-BY-NC-4.0"
    )
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, out)


def test_pull_fetches_converts_and_prints_the_path(run, hub, convert):
    result = run("models", "pull", MODEL.name, "--accept-licence")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{store.folder(MODEL) / 'm2fp-r101-cihp.onnx'}\n"
    assert MODEL.terms in result.stderr
    assert convert == [store.folder(MODEL) / CHECKPOINT]
    assert HumanParser(MODEL.name).name == MODEL.name


def test_the_parser_never_fetches_even_if_the_licence_was_accepted(hub, monkeypatch):
    monkeypatch.setenv("HUMANPARSE_ACCEPT_LICENCE", "1")
    with pytest.raises(
        UnknownModel,
        match=r"HumanParser.pull\('m2fp-r101-cihp'.* humanparse models pull m2fp-r101-cihp$",
    ):
        HumanParser(MODEL.name)
    assert hub.asked == []


def test_pulling_is_a_function_of_its_own(hub, monkeypatch):
    monkeypatch.setattr(fetch, "convert", lambda checkpoint, out: write_tiny_model(out))
    with pytest.raises(OptionError, match="must be accepted"):
        HumanParser.pull(MODEL.name)
    assert hub.asked == []
    assert HumanParser.pull(MODEL.name, accept_licence=True).is_file()
    asked = len(hub.asked)
    assert (
        HumanParser(MODEL.name).parse(np.zeros((40, 40, 3), np.uint8)).people == ()
        and len(hub.asked) == asked > 0
    )
    with pytest.raises(UnknownModel, match="choose one of"):
        HumanParser.pull("humanparse-small")


def test_a_second_pull_does_nothing_again(run, hub, convert):
    run("models", "pull", MODEL.name, "--accept-licence")
    asked = len(hub.asked)
    again = run("models", "pull", MODEL.name)
    assert (again.exit_code, again.stderr, len(hub.asked), len(convert)) == (0, "", asked, 1)


def test_without_a_terminal_the_licence_needs_the_option(run, hub, convert):
    result = run("models", "pull", MODEL.name)
    assert result.exit_code == 2
    assert "NOT commercially" in result.stderr
    assert result.stderr.splitlines()[-1].endswith("answer yes, or add --accept-licence")
    assert hub.asked == []


def test_the_environment_may_accept_the_licence(run, hub, convert, monkeypatch):
    monkeypatch.setenv("HUMANPARSE_ACCEPT_LICENCE", "1")
    assert run("models", "pull", MODEL.name).exit_code == 0


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 2)])
def test_on_a_terminal_the_user_is_asked_once(run, hub, convert, monkeypatch, answer, code):
    asked = []
    monkeypatch.setattr(models, "ask", lambda question: asked.append(question) or answer)
    assert run("models", "pull", MODEL.name).exit_code == code
    assert asked == ["Do you accept this licence?"]


def test_quiet_prints_the_path_only(run, hub, convert):
    result = run("models", "pull", MODEL.name, "--accept-licence", "--quiet")
    assert (result.exit_code, result.stderr, len(result.stdout.splitlines())) == (0, "", 1)


def test_a_failed_download_ends_with_3_and_one_line(run, hub, convert):
    hub.plans[CHECKPOINT] = [status(404)]
    result = run("models", "pull", MODEL.name, "--accept-licence", "--quiet")
    assert result.exit_code == 3
    assert re.fullmatch(r"humanparse: 127\.0\.0\.1:\d+ answered HTTP 404 .*\n", result.stderr)


def test_a_broken_off_download_is_told_and_goes_on(run, hub, convert):
    hub.plans[CHECKPOINT] = [breaks_off(4000)]
    result = run("models", "pull", MODEL.name, "--accept-licence")
    assert result.exit_code == 0
    assert (
        "the connection broke off after 4000 of 10240 bytes; trying again in 1 s" in result.stderr
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_ctrl_c_keeps_what_has_come(run, hub, convert):
    hub.plans[CHECKPOINT] = [stalls(4000)]
    command = [
        sys.executable,
        "-m",
        "humanparse",
        "models",
        "pull",
        MODEL.name,
        "--accept-licence",
        "--quiet",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: list(store.folder(MODEL).glob("*.part")), "the first bytes")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=LONG_S)[1]
    assert (process.returncode, stderr) == (130, "interrupted\n")
    assert run("models", "list").stdout.count("incomplete") == 1
    assert run("models", "pull", MODEL.name).exit_code == 0
    assert hub.ranges(CHECKPOINT)[-1] == "bytes=4000-"


def test_offline_is_explained_before_any_licence(run, hub, monkeypatch):
    monkeypatch.setenv("HUMANPARSE_OFFLINE", "1")
    result = run("models", "pull", MODEL.name)
    assert result.exit_code == 3
    assert "HUMANPARSE_OFFLINE forbids downloading it" in result.stderr
    assert hub.asked == []


def test_without_pytorch_the_install_line_is_told_before_and_after(run, hub, monkeypatch):
    monkeypatch.setattr(fetch, "can_convert", lambda: False)
    for name in [
        name
        for name in sys.modules
        if name.startswith(("humanparse.export.m2fp", "humanparse.export.checkpoint"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run("models", "pull", MODEL.name, "--accept-licence")
    assert result.exit_code == 3
    assert result.stderr.count(install_line("torch")) == 2
    assert store.checkpoint(MODEL)  # only converting is left to do


def test_a_failed_conversion_can_be_repeated_without_a_download(run, hub, convert, monkeypatch):
    def breaks(checkpoint, out):
        raise BrokenModel(f"{checkpoint} is not an M2FP checkpoint")

    with monkeypatch.context() as patched:
        patched.setattr(fetch, "convert", breaks)
        assert run("models", "pull", MODEL.name, "--accept-licence").exit_code == 3
    asked = len(hub.asked)
    assert run("models", "pull", MODEL.name).exit_code == 0
    assert len(hub.asked) == asked


def test_a_folder_with_a_checkpoint_is_converted_where_it_is(run, hub, convert, here):
    (here / "mine").mkdir()
    (here / "mine" / CHECKPOINT).write_bytes(DATA)
    result = run("models", "pull", "mine")
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in (here / "mine").iterdir()) == ["mine.onnx", CHECKPOINT]
    assert HumanParser("mine").name == MODEL.name
    assert run("models", "verify", "mine").stdout == f"opens    {Path('mine/mine.onnx')}\n"
    assert run("models", "path", "mine").stdout == f"{Path('mine/mine.onnx')}\n"
    assert hub.asked == []


def test_list_tells_name_licence_and_where(run, hub, convert):
    lines = run("models", "list").stdout.splitlines()
    assert re.search(
        rf"{DEFAULT_MODEL}\s+any number\s+20\s+Apache-2.0\s+[\d.]+ MB\s+in the package", lines[1]
    )
    assert re.search(r"m2fp-r101-cihp\s+any number\s+CIHP's 20\s+CC BY-NC 4.0\s+not here", lines[3])
    assert re.search(r"m2fp-r101-lip\s+one\s+LIP's 20\s+CC BY-NC 4.0\s+not here", lines[4])
    run("models", "pull", MODEL.name, "--accept-licence")
    assert re.search(r"m2fp-r101-cihp.* MB\s+here", run("models", "list").stdout)
    assert str(home()) in run("models", "list").stdout


def test_verify_names_what_is_damaged_and_what_to_do(run, hub, convert):
    assert run("models", "verify").exit_code == 0
    run("models", "pull", MODEL.name, "--accept-licence")
    assert run("models", "verify").stdout.count("intact") == 3
    (store.folder(MODEL) / CHECKPOINT).write_bytes(bytes(len(DATA)))
    result = run("models", "verify")
    assert result.exit_code == 1
    assert f"damaged  {store.folder(MODEL) / CHECKPOINT}" in result.stdout
    assert (
        "humanparse models remove m2fp-r101-cihp && humanparse models pull m2fp-r101-cihp"
        in result.stderr
    )


def test_verify_of_a_model_that_is_not_here_or_no_model_ends_with_3(run, hub, here):
    assert run("models", "verify", MODEL.name).exit_code == 3
    (here / "x.onnx").write_bytes(b"no model")
    assert run("models", "verify", "x.onnx").exit_code == 3


def test_remove_frees_the_disk(run, hub, convert):
    assert "was not here" in run("models", "remove", MODEL.name).stdout
    run("models", "pull", MODEL.name, "--accept-licence")
    assert "is removed" in run("models", "remove", MODEL.name).stdout
    assert not store.folder(MODEL).exists()


@pytest.mark.parametrize(
    ("name", "code"),
    [(DEFAULT_MODEL, 2), ("own.onnx", 2), ("../home", 3), ("..", 3), ("no-such", 3)],
)
def test_remove_deletes_nothing_but_fetched_models(run, hub, here, name, code):
    (here / "own.onnx").touch()
    before = sorted(here.rglob("*"))
    assert run("models", "remove", name).exit_code == code
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("name", ["../../etc", "no-such", MODEL.repo, "m2fp-r101-cihp/../x", ""])
def test_names_that_are_none_are_refused(run, hub, name):
    for command in ("pull", "path", "verify"):
        result = run("models", command, name or "\0")
        assert result.exit_code in (2, 3), (command, result.stdout, result.stderr)
        assert len(result.stderr.splitlines()) == 1
    assert hub.asked == []


def test_the_parser_says_how_to_get_a_model_that_is_not_here(hub):
    with pytest.raises(UnknownModel, match=r"humanparse models pull m2fp-r101-lip$"):
        HumanParser("m2fp-r101-lip")


def test_path_prints_one_path(run, hub):
    path = Path(run("models", "path", DEFAULT_MODEL).stdout.strip())
    assert path.is_file()


def test_a_progress_bar_shows_on_a_terminal(hub, monkeypatch):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", Terminal())
    with models._progress(quiet=False) as show:
        show("pytorch_model.pt", 500, 1000)
        show("pytorch_model.pt", 1000, 1000)
        text = sys.stderr
    assert "pytorch_model.pt" in text.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_manual_explains_every_command_and_option(run, command):
    manual = (Path(__file__).parents[2] / "docs/cli.md").read_text("utf-8")
    shown = run("models", command, "--help").stdout
    assert f"humanparse models {command}" in shown
    assert f"humanparse models {command}" in manual
    assert [option for option in re.findall(r"--[a-z][a-z-]+", shown) if option not in manual] == []


def test_the_page_names_every_model_and_variable():
    page = (Path(__file__).parents[2] / "docs/models.md").read_text("utf-8")
    for model in HUB.values():
        assert all(text in page for text in (model.name, model.repo, model.license))
    for name in (
        "HUMANPARSE_HOME",
        "HUMANPARSE_OFFLINE",
        "HUMANPARSE_ACCEPT_LICENCE",
        "MODELSCOPE_ENDPOINT",
        "https_proxy",
    ):
        assert f"`{name}`" in page


def test_the_record_says_where_the_files_came_from(run, hub, convert):
    run("models", "pull", MODEL.name, "--accept-licence")
    record = json.loads((store.folder(MODEL) / store.RECORD).read_text("utf-8"))
    assert (record["schema"], record["repo"], record["revision"]) == (1, MODEL.repo, "v1.0.1")
    assert record["made_from"] == record["files"][1]["sha256"]
