"""A run that dies at any moment, and is started again, has every photo in its output exactly
once."""

from __future__ import annotations

import random
import re
import shutil
import signal
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from batch_helpers import (
    PATIENCE_S,
    failures_in,
    finished,
    rows_in,
    side_of,
    started,
    visible_files,
    write_photos,
)
from waiting import until

from humanparse.batch import parts
from humanparse.batch.manifest import Manifest
from humanparse.batch.run import Output
from humanparse.batch.work import Outcome


def _ended_or_wrote(run, out: Path, files: int) -> bool:
    return run.poll() is not None or len(visible_files(out)) >= files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formats", "kills", "photos"),
    [
        ("parquet", 2, 300),
        ("json,labels", 2, 300),
        pytest.param("parquet", 10, 900, marks=pytest.mark.long),
    ],
)
def test_killed_at_random_moments_and_exact_in_the_end(
    tiny_model, tmp_path, formats, kills, photos
):
    pytest.importorskip("pyarrow")
    keys = write_photos(tmp_path / "photos", photos)
    bad = ["000/000050.png", "002/000201.png"]
    for key in bad:
        (tmp_path / "photos" / key).write_bytes(b"no picture")
    moments, out = random.Random(8), tmp_path / "out"
    command = ["-o", out, "-m", tiny_model, "--rows", 25, "--format", formats, "-q"]

    killed = 0
    for number in range(kills):
        run = started(tmp_path / "photos", *command)
        written, wanted = (
            len(visible_files(out)),
            moments.randint(1, 2) * (1 if formats == "parquet" else 50),
        )
        try:
            until(
                partial(_ended_or_wrote, run, out, written + wanted),
                "the next files",
                PATIENCE_S,
            )
        finally:
            run.kill()
        run.communicate(timeout=PATIENCE_S)
        killed += run.returncode == -9
        # there is enough to do for most of them, however fast the machine
        assert number > 7 or killed == number + 1

    finished(tmp_path / "photos", *command, code=1)
    good = [key for key in keys if key not in bad]
    assert failures_in(out) == dict.fromkeys(bad, "not_an_image")
    if formats == "parquet":
        rows = rows_in(out)
        assert sorted(row["key"] for row in rows) == good
        assert all(row["width"] == side_of(int(row["key"][4:10])) for row in rows)
    else:
        assert visible_files(out) == sorted(
            f"{key}{ending}" for key in good for ending in (".json", ".labels.png")
        )
        assert "00000" in (out / f"{good[0]}.json").read_text()


@pytest.mark.slow
def test_sigterm_keeps_what_is_done(tiny_model, tmp_path):
    pytest.importorskip("pyarrow")
    keys = write_photos(tmp_path / "photos", 1500)
    out = tmp_path / "out"
    run = started(tmp_path / "photos", "-o", out, "-m", tiny_model, "--rows", 100)
    try:
        until(lambda: run.poll() is not None or visible_files(out), "the first part", PATIENCE_S)
        run.send_signal(signal.SIGTERM)
        _, said = run.communicate(timeout=PATIENCE_S)
    finally:
        run.kill()
    assert run.returncode == 130, said
    found = [row["key"] for row in rows_in(out)]
    assert re.fullmatch(r"interrupted after \d+ photos; the same command continues\n", said)
    assert len(set(found)) == len(found) and set(found) < set(keys)


# Every single step of writing a part, without the chance of a real kill.


class Died(BaseException):
    """Stands for the end of the process."""


def die(*_, **__):
    raise Died


def opened(folder: Path) -> Output:
    return Output(folder, ("parquet",), {"sources": ["here"]}, {}, rows=4)


def outcome(number: int) -> Outcome:
    row = (
        b'{"key": "%d", "uri": "u", "width": 1, "height": 1, "model": "m", "people": [], '
        b'"loose_parts": []}'
    )
    return Outcome(str(number), (row % number,))


@pytest.mark.parametrize(
    ("where", "what"),
    [
        (parts, "write"),  # before the part
        (parts, "sync_folder"),  # the part is there
        (Manifest, "add_part"),  # but the manifest does not know it
        (Manifest, "commit"),
        (Output, "write_failures"),
    ],
)
def test_died_at_any_step_of_writing_a_part(tmp_path, monkeypatch, where, what):
    pytest.importorskip("pyarrow")
    folder, here = tmp_path / "first", tmp_path / "after"
    with opened(folder) as output:
        for number in range(3):
            output.add(outcome(number))
        output.manifest.commit()
        with monkeypatch.context() as patch:
            patch.setattr(where, what, die)
            with pytest.raises(Died):
                output.add(outcome(3))
                output.finish()
            shutil.copytree(folder, here)  # what a process that died now would leave
    with opened(here) as output:
        for number in range(6):
            output.add(outcome(number))
        output.finish()
        assert (output.manifest.done, output.manifest.waiting) == (6, 0)
    assert sorted(row["key"] for row in rows_in(here)) == list("012345")


def test_broken_off_while_a_part_is_noted_down_keeps_all_of_it(tmp_path):
    pytest.importorskip("pyarrow")

    def two_keys_and_ctrl_c():
        yield from ("0", "1")
        raise KeyboardInterrupt

    with opened(tmp_path) as output:
        for number in range(3):
            output.add(outcome(number))
        parts.write(tmp_path, 0, [outcome(number).blobs[0] for number in range(3)], {})
        with pytest.raises(KeyboardInterrupt):
            output.manifest.add_part(0, two_keys_and_ctrl_c())
        output.finish()
    assert sorted(row["key"] for row in rows_in(tmp_path)) == list("012")


def test_a_part_that_appeared_in_the_last_moment_is_taken_over(tmp_path):
    pytest.importorskip("pyarrow")
    with opened(tmp_path) as output:
        for number in range(4):
            output.add(outcome(number))
    base = sqlite3.connect(tmp_path / "_manifest.sqlite")
    base.executescript("DELETE FROM done; DELETE FROM parts;")
    base.close()
    with opened(tmp_path) as output:
        assert output.manifest.done == 4
        assert output.add(outcome(2)) is None


def test_a_lost_manifest_is_built_again_from_the_parts(tmp_path):
    pytest.importorskip("pyarrow")
    with opened(tmp_path) as output:
        for number in range(9):
            output.add(outcome(number))
        output.finish()
    for path in tmp_path.glob("_manifest*"):
        path.unlink()
    with opened(tmp_path) as output:
        assert [output.manifest.known(str(number)) for number in (0, 8, 9)] == [True, True, False]


def test_what_a_killed_run_had_not_finished_writing_is_removed(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / ".0123456789abcdef0123456789abcdef.part").write_bytes(b"half")
    with opened(tmp_path):
        assert visible_files(tmp_path) == []
