"""The folder of a run: too little room is found before the first step, a full disk is reported."""

import errno
import types

import pytest

torch = pytest.importorskip("torch")

from humanparse.errors import HumanParseError, OptionError  # noqa: E402
from humanparse.training import output  # noqa: E402
from humanparse.training.output import COPIES, check_room, run_folder  # noqa: E402


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        # PyTorch's message
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 832 vs 726"),
    ],
)
def test_a_full_disk_is_reported_in_one_line_with_advice(tmp_path, error):
    message = r"the disk of .*run is full, .*; make room there, and add --resume"
    with pytest.raises(HumanParseError, match=message), run_folder(tmp_path / "run", quiet):
        raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), RuntimeError("sizes differ")]
)
def test_other_errors_stay_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as raised, run_folder(tmp_path / "run", quiet):
        raise error
    assert raised.value is error


def test_a_disk_that_cannot_hold_the_run_is_refused_before_it_starts(tmp_path, monkeypatch):
    network = torch.nn.Linear(1000, 250, bias=False)  # of 1 MB
    for free, there, enough in (
        (COPIES * 10**6, 0, True),
        (COPIES * 10**6 - 1, 0, False),
        (0, COPIES * 10**6, True),
    ):
        monkeypatch.setattr(
            output.shutil, "disk_usage", lambda path, free=free: types.SimpleNamespace(free=free)
        )
        # of the run before, which the next replaces
        (tmp_path / "last.pt").write_bytes(bytes(there))
        if enough:
            check_room(tmp_path, network)
        else:
            with pytest.raises(
                OptionError, match=r"need up to 10 MB, but .* has room for 10 MB; make room"
            ):
                check_room(tmp_path, network)
