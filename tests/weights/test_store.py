"""Models arrive whole or not at all, whatever the server, the disk and other processes do."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from hub_server import (
    ETAG,
    HubServer,
    as_modelscope,
    breaks_off,
    ignores_range,
    redirects,
    sends,
    silent,
    stalls,
    status,
    trickles,
)
from waiting import LONG_S, until

from humanparse.errors import BrokenModel, DownloadFailed, OfflineError, OptionError, UnknownModel
from humanparse.parser import HumanParser
from humanparse.system.home import home, home_if_any
from humanparse.system.lock import lock_file
from humanparse.weights import download, store
from humanparse.weights.catalog import DEFAULT_MODEL, model_file
from humanparse.weights.download import DownloadLimits, part_of
from humanparse.weights.hub import CHECKPOINT, CONFIGURATION, HUB, RemoteFile, endpoint

MODEL = HUB["m2fp-r101-cihp"]
DATA = os.urandom(50_000)
QUICK = DownloadLimits(
    stall_s=0.25,
    min_bytes_per_s=1000,
    tries=4,
    progress_bytes=10_000,
    first_wait_s=0.01,
    longest_wait_s=0.05,
    spare_bytes=0,
    lock_s=5,
)
posix = pytest.mark.skipif(os.name == "nt", reason="links and signals differ")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("HUMANPARSE_OFFLINE", raising=False)
    monkeypatch.setenv("HUMANPARSE_HOME", str(tmp_path / "home"))
    with HubServer({CHECKPOINT: DATA, CONFIGURATION: b'{"model": {}}'}) as hub:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        yield hub


def pull(**options) -> Path:
    return store.pull(MODEL, **({"accept_licence": True, "limits": QUICK} | options))


def leftovers() -> list[str]:
    return sorted(
        path.name
        for path in store.folder(MODEL).iterdir()
        if path.name not in (CONFIGURATION, store.LICENSE)
    )


def leave_part(data: bytes) -> Path:
    """A part of the checkpoint as an interrupted download leaves it."""
    part = part_of(store.folder(MODEL) / CHECKPOINT, entry(DATA))
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(data)
    return part


def entry(data: bytes) -> RemoteFile:
    import hashlib

    return RemoteFile(CHECKPOINT, len(data), hashlib.sha256(data).hexdigest())


# ---- when all is well ----------------------------------------------------------------------------


def test_a_model_is_fetched_once_and_recorded(hub):
    seen = []
    path = pull(progress=lambda *step: seen.append(step))
    assert path.read_bytes() == DATA
    assert seen[-1] == (CHECKPOINT, len(DATA), len(DATA))
    assert store.record(MODEL).files[1] == entry(DATA)
    asked = len(hub.asked)
    assert pull() == path
    assert len(hub.asked) == asked
    assert leftovers() == [CHECKPOINT, store.RECORD]


def test_the_hub_is_asked_for_the_revision_of_the_catalogue(hub):
    pull()
    assert [headers["url"] for _, headers in hub.asked] == [
        f"/api/v1/models/{MODEL.repo}/repo/files?Revision=v1.0.1&Recursive=True",
        f"/api/v1/models/{MODEL.repo}/repo?Revision=v1.0.1&FilePath=configuration.json",
        f"/api/v1/models/{MODEL.repo}/repo?Revision=v1.0.1&FilePath=pytorch_model.pt",
    ]


def test_a_first_request_asks_for_no_range(hub):
    """Some companies' routers refuse every request with one."""
    pull()
    assert hub.ranges(CHECKPOINT) == [None]


def test_redirects_are_followed_and_keep_the_range(hub):
    hub.plans[CHECKPOINT] = [breaks_off(20_000), redirects(f"/elsewhere?file={CHECKPOINT}")]
    assert pull().read_bytes() == DATA
    assert hub.ranges(CHECKPOINT)[-1] == "bytes=20000-"


def test_a_proxy_of_the_environment_is_used(hub, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("http_proxy", hub.url)
    assert pull().read_bytes() == DATA
    assert all(headers["url"].startswith("http://hub.invalid/") for _, headers in hub.asked)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", "https://www.modelscope.cn"),
        ("mirror.example/", "https://mirror.example"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
    ],
)
def test_the_endpoint_may_be_written_short(monkeypatch, given, address):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", given)
    assert endpoint() == address


@pytest.mark.parametrize("given", ["file:///etc", "ftp://mirror.example", "http://"])
def test_an_endpoint_that_is_no_web_address_is_bad_usage(hub, monkeypatch, given):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", given)
    with pytest.raises(OptionError, match="MODELSCOPE_ENDPOINT"):
        pull()


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home, like one whom a container's /etc/passwd does not list."""

    def nobody(uid: int):
        raise KeyError(uid)

    for name in ("HUMANPARSE_HOME", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)


@posix
def test_without_a_home_only_what_needs_one_fails(homeless):
    assert home_if_any() is None
    assert HumanParser(threads=1).parse(np.zeros((32, 32, 3), np.uint8)).people == ()
    assert (store.record(MODEL), store.accepted(MODEL), store.size(MODEL)) == (None, False, 0)
    assert not store.verify(MODEL) and not store.converted(MODEL)
    with pytest.raises(UnknownModel, match="models pull"):
        HumanParser(MODEL.name)
    with pytest.raises(OptionError, match="set HUMANPARSE_HOME to one that can be written"):
        store.pull(MODEL, accept_licence=True)


@posix
def test_a_home_that_does_not_exist_is_ignored(homeless, monkeypatch):
    monkeypatch.setenv("HUMANPARSE_HOME", "~no-such-user/models")
    assert home_if_any() is None
    assert HumanParser(threads=1).name == DEFAULT_MODEL


def test_the_home_is_the_systems_cache_folder_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("HUMANPARSE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert home() == tmp_path / "humanparse"
    monkeypatch.setenv("HUMANPARSE_HOME", "~/models")
    assert home() == Path.home() / "models"


# ---- going on where it stopped -------------------------------------------------------------------


@pytest.mark.parametrize("then", [[], [as_modelscope]], ids=["206", "200 with Content-Range"])
def test_a_broken_off_download_goes_on_where_it_stopped(hub, then):
    hub.plans[CHECKPOINT] = [breaks_off(20_000), *then]
    said = []
    assert pull(say=said.append).read_bytes() == DATA
    assert hub.ranges(CHECKPOINT) == [None, "bytes=20000-"]
    assert hub.asked[-1][1]["If-Range"] == ETAG
    assert re.fullmatch(
        r"the connection broke off after 20000 of 50000 bytes; trying again in 0 s", said[0]
    )


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(hub):
    hub.plans[CHECKPOINT] = [breaks_off(5_000)] + [status(503)] * 3
    with pytest.raises(DownloadFailed, match="4 times in a row, last: HTTP 503"):
        pull()
    assert pull().read_bytes() == DATA
    assert hub.ranges(CHECKPOINT)[-1] == "bytes=5000-"


def test_many_breaks_do_not_matter_as_long_as_bytes_come(hub):
    hub.plans[CHECKPOINT] = [breaks_off(10_000)] * 4 + [breaks_off(2_000)] * 2
    assert pull().read_bytes() == DATA


def test_a_server_that_ignores_range_starts_again(hub):
    hub.plans[CHECKPOINT] = [breaks_off(20_000), ignores_range]
    assert pull().read_bytes() == DATA


def test_a_file_that_changed_on_the_server_starts_again(hub):
    hub.plans[CHECKPOINT] = [breaks_off(20_000, ETag='"older"')]
    assert pull().read_bytes() == DATA
    assert hub.asked[-1][1]["If-Range"] == '"older"'


def test_a_weak_etag_is_no_validator_but_the_date_is(hub):
    date = formatdate(0, usegmt=True)
    hub.plans[CHECKPOINT] = [
        breaks_off(20_000, ETag='W/"first"', Last_Modified=date),
        as_modelscope,
    ]
    assert pull().read_bytes() == DATA
    assert hub.asked[-1][1]["If-Range"] == date


@pytest.mark.parametrize(
    "wrong",
    [
        sends(DATA[20_000:], 206),
        sends(DATA[7:], 206, Content_Range=f"bytes 7-49999/{len(DATA)}"),
        sends(DATA, 206, Content_Range="bytes many"),
    ],
    ids=["without a place", "from another byte", "with a nonsensical place"],
)
def test_a_part_that_does_not_fit_is_not_sewn_on(hub, wrong):
    hub.plans[CHECKPOINT] = [breaks_off(20_000), wrong]
    assert pull().read_bytes() == DATA
    assert hub.ranges(CHECKPOINT) == [None, "bytes=20000-", None]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"if_range": 3}', '{"if_range": "a\\nb: c"}', '{"if_range": "é€"}']
)
def test_a_damaged_note_beside_a_part_does_no_harm(hub, text):
    part = leave_part(DATA[:20_000])
    part.with_name(part.name + ".json").write_text(text, "utf-8")
    assert pull().read_bytes() == DATA
    assert hub.ranges(CHECKPOINT) == ["bytes=20000-"]
    assert "If-Range" not in hub.asked[-1][1]


@pytest.mark.parametrize(
    "left", [b"x" * 20_000, b"x" * 50_000, b"x" * 60_000], ids=["short", "as long", "longer"]
)
def test_a_damaged_part_costs_one_download_more(hub, left):
    leave_part(left)
    assert pull().read_bytes() == DATA
    assert leftovers() == [CHECKPOINT, store.RECORD]


def test_a_whole_part_needs_no_request(hub):
    leave_part(DATA)
    assert pull().read_bytes() == DATA
    assert hub.times(CHECKPOINT) == 0


def test_a_part_of_another_version_is_not_continued(hub):
    older = part_of(store.folder(MODEL) / CHECKPOINT, entry(b"older" * 9))
    older.parent.mkdir(parents=True)
    older.write_bytes(b"old")
    assert pull().read_bytes() == DATA
    assert hub.ranges(CHECKPOINT) == [None]
    assert not older.exists()


# ---- servers that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behave", [stalls(20_000), trickles, silent], ids=["stall", "trickle", "silence"]
)
def test_a_server_that_stops_sending_is_asked_again(hub, behave):
    hub.plans[CHECKPOINT] = [behave]
    began = time.monotonic()
    assert pull().read_bytes() == DATA
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(hub, code):
    hub.plans[CHECKPOINT] = hub.plans["list"] = [status(code)] * 2
    assert pull().read_bytes() == DATA


@pytest.mark.parametrize("after", ["0.02", "soon", "-1", formatdate(0, usegmt=True), ""])
def test_a_nonsensical_or_past_retry_after_does_no_harm(hub, after):
    hub.plans[CHECKPOINT] = [status(429, Retry_After=after)]
    assert pull().read_bytes() == DATA


def test_retry_after_is_obeyed(hub):
    hub.plans[CHECKPOINT] = [status(429, Retry_After="1")]
    began = time.monotonic()
    pull(limits=DownloadLimits(first_wait_s=0.01, longest_wait_s=2, spare_bytes=0))
    assert time.monotonic() - began >= 1


def test_a_server_that_asks_for_a_long_wait_is_left_alone(hub):
    hub.plans[CHECKPOINT] = [status(429, Retry_After="3600")]
    with pytest.raises(DownloadFailed, match="asks us to wait 3600 s"):
        pull()


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 418])
def test_a_lasting_failure_is_not_tried_again(hub, code):
    hub.plans[CHECKPOINT] = [status(code)]
    with pytest.raises(DownloadFailed, match=f"HTTP {code}"):
        pull()
    assert hub.times(CHECKPOINT) == 1


def test_a_server_that_is_not_there_is_given_up_soon(hub, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(
        DownloadFailed, match=r"127\.0\.0\.1:1 failed 4 times in a row.*MODELSCOPE_ENDPOINT"
    ):
        pull()


def test_an_address_that_is_none_is_refused_at_once(hub, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://me:secret@127.0.0.1:1")
    with pytest.raises(DownloadFailed) as caught:
        pull()
    assert "me:" not in str(caught.value)


def test_redirects_without_end_are_refused(hub):
    hub.plans[CHECKPOINT] = [redirects(f"/elsewhere?file={CHECKPOINT}")] * 20
    with pytest.raises(DownloadFailed, match="HTTP 302"):
        pull()
    assert hub.times(CHECKPOINT) <= QUICK.redirects + 1


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_redirects_to_other_schemes_are_refused(hub, to):
    hub.plans[CHECKPOINT] = [redirects(to)]
    with pytest.raises(DownloadFailed):
        pull()
    assert CHECKPOINT not in leftovers()


def test_a_redirect_from_https_to_http_is_refused():
    import io
    import urllib.request

    request = urllib.request.Request("https://hub.example/x")
    with pytest.raises(DownloadFailed, match="from https to http"):
        download._Redirects(5).redirect_request(
            request, io.BytesIO(), 302, "", {}, "http://hub.example/x"
        )


def test_wrong_bytes_of_the_right_size_are_thrown_away(hub):
    hub.files[CHECKPOINT] = bytes(len(DATA))
    with pytest.raises(DownloadFailed, match="sent other bytes than its list promises"):
        pull()
    assert leftovers() == []


@pytest.mark.parametrize("size", [10, len(DATA) - 1, len(DATA) + 1])
def test_another_size_than_promised_is_refused_before_it_is_fetched(hub, size):
    hub.files[CHECKPOINT] = bytes(size)
    with pytest.raises(DownloadFailed, match=f"sends {size} bytes .* promises 50000"):
        pull()
    assert leftovers() == []


def test_more_than_promised_is_cut_off_even_if_no_size_is_told(hub):
    hub.plans[CHECKPOINT] = [sends(bytes(10**7), Content_Length="")]
    with pytest.raises(DownloadFailed, match="more than the 50000 bytes"):
        pull()
    assert leftovers() == []


def test_an_encoded_answer_is_refused(hub):
    hub.plans[CHECKPOINT] = [sends(b"x", Content_Encoding="gzip")]
    with pytest.raises(DownloadFailed, match="gzip"):
        pull()


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>log in to the hotel's network</html>",
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"Data": null}',
        b'{"Data": {"Files": 3}}',
        b'{"Data": {"Files": [3]}}',
        b'{"Data": {"Files": [{"Path": []}]}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"Code": 404, "Success": false, "Message": "record not found", "Data": null}',
        b'{"Data": {"Files": []}}',
    ],
    ids=range(13),
)
def test_a_list_that_is_none_is_refused(hub, answer):
    hub.plans["list"] = [sends(answer)]
    with pytest.raises(
        DownloadFailed,
        match=r"file list of iic/cv_resnet101_image-multiple-human-parsing \(v1\.0\.1\)",
    ):
        pull()


@pytest.mark.parametrize(
    "change",
    [
        {"Size": -1},
        {"Size": 0},
        {"Size": "50000"},
        {"Size": None},
        {"Size": True},
        {"Sha256": ""},
        {"Sha256": None},
        {"Sha256": "../" * 20},
        {"Sha256": "deadbeef"},
    ],
)
def test_a_file_that_cannot_be_checked_is_not_fetched(hub, change):
    hub.listed[CHECKPOINT] |= change
    with pytest.raises(DownloadFailed, match="what cannot be checked is not used"):
        pull()
    assert hub.times(CHECKPOINT) == 0


def test_files_outside_the_folder_cannot_be_named(hub, tmp_path):
    hub.listed["evil"] = {"Path": "../../evil", "Type": "blob", "Size": 1, "Sha256": "0" * 64}
    pull()
    assert not list(tmp_path.rglob("evil"))
    for path in ("../x", "/etc/passwd", "a/b", "a\\b", ".hidden", "", "a\0b", "x" * 101, "C:x"):
        with pytest.raises(ValueError, match="plain file name"):
            RemoteFile(path, 1, "0" * 64)


def test_too_long_a_list_and_too_large_a_file_are_refused(hub):
    with pytest.raises(DownloadFailed, match="more than 100 bytes where a list"):
        pull(limits=DownloadLimits(list_bytes=100))
    with pytest.raises(DownloadFailed, match="the limit is 40000"):
        pull(limits=DownloadLimits(file_bytes=40_000))


# ---- licence and offline -------------------------------------------------------------------------


def test_nothing_is_fetched_before_the_licence_is_accepted(hub):
    with pytest.raises(OptionError, match=r"CC BY-NC 4\.0: no commercial use.*--accept-licence"):
        pull(accept_licence=False)
    assert hub.asked == []
    pull()
    assert store.accepted(MODEL)
    assert "NOT commercially" in (store.folder(MODEL) / store.LICENSE).read_text("utf-8")


def test_a_licence_accepted_once_is_not_asked_for_again(hub):
    hub.plans[CHECKPOINT] = [status(404)]
    with pytest.raises(DownloadFailed):
        pull()
    assert pull(accept_licence=False).read_bytes() == DATA


def test_offline_fetches_nothing_but_uses_what_is_here(hub, monkeypatch):
    monkeypatch.setenv("HUMANPARSE_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"HUMANPARSE_OFFLINE forbids.*models.m2fp-r101-cihp"):
        pull()
    assert hub.asked == []
    monkeypatch.setenv("HUMANPARSE_OFFLINE", "0")
    pull()
    monkeypatch.setenv("HUMANPARSE_OFFLINE", "yes")
    assert pull().read_bytes() == DATA


# ---- several processes ---------------------------------------------------------------------------

PULL = """
from humanparse.weights import store
from humanparse.weights.hub import HUB
print(store.pull(HUB["m2fp-r101-cihp"], accept_licence=True, say=print))
"""


def test_two_processes_at_once_download_once(hub):
    second_waits = threading.Event()

    def late(handler, data):
        second_waits.wait(LONG_S)
        handler.answer(200, data)

    hub.plans["list"] = [late]
    command = [sys.executable, "-u", "-c", PULL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        until(lambda: hub.times("list"), "the first one's question")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
            assert "another process is at work" in second.stdout.readline()
            second_waits.set()
            printed = [process.communicate(timeout=LONG_S)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert hub.times(CHECKPOINT) == hub.times("list") == 1
    assert "another process is at work" not in "".join(printed)
    assert (store.folder(MODEL) / CHECKPOINT).read_bytes() == DATA


@posix
def test_a_killed_process_leaves_a_part_but_no_lock(hub):
    hub.plans[CHECKPOINT] = [stalls(20_000)]
    with subprocess.Popen([sys.executable, "-c", PULL]) as process:
        part = part_of(store.folder(MODEL) / CHECKPOINT, entry(DATA))
        until(lambda: hub.times(CHECKPOINT) and part.exists(), "the first bytes")
        process.send_signal(signal.SIGKILL)
    hub.closing.set()
    assert pull().read_bytes() == DATA


def test_waiting_for_another_process_has_a_limit(hub):
    hub.plans["list"] = [stalls(0)]
    first = threading.Thread(
        target=lambda: pull(limits=DownloadLimits(stall_s=0.4, first_wait_s=0.01, spare_bytes=0))
    )
    first.start()
    while not hub.asked:
        time.sleep(0.01)
    with pytest.raises(
        DownloadFailed, match=r"has held .*m2fp-r101-cihp\.lock for more than 0\.1 s"
    ):
        pull(limits=DownloadLimits(lock_s=0.1))
    first.join()


def test_a_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), lock_file(tmp_path / "lock", 1):
        raise RuntimeError
    with (
        lock_file(tmp_path / "lock", 0),
        pytest.raises(TimeoutError),
        lock_file(tmp_path / "lock", 0),
    ):
        pass


# ---- the disk ------------------------------------------------------------------------------------


def test_too_little_room_is_told_before_anything_is_fetched(hub):
    with pytest.raises(DownloadFailed, match="but the disk has"):
        pull(limits=DownloadLimits(spare_bytes=10**18))
    assert hub.times(CHECKPOINT) == 0


def test_a_disk_that_fills_up_keeps_what_it_has(hub, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        monkeypatch.context() as patched,
        pytest.raises(DownloadFailed, match=r"the disk is full.*HUMANPARSE_HOME"),
    ):
        patched.setattr(os, "fsync", full)
        pull()
    assert not (store.folder(MODEL) / CHECKPOINT).exists()
    assert pull().read_bytes() == DATA


@posix
def test_a_link_in_the_place_of_a_part_is_replaced_and_not_followed(hub, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    leave_part(b"").unlink()
    part_of(store.folder(MODEL) / CHECKPOINT, entry(DATA)).symlink_to(precious)
    (store.folder(MODEL) / CHECKPOINT).symlink_to(precious)
    (store.folder(MODEL) / store.RECORD).symlink_to(precious)
    assert pull().read_bytes() == DATA
    assert precious.read_text() == "mine"


@posix
def test_a_model_folder_on_another_disk_may_be_linked_and_only_the_link_is_removed(hub, tmp_path):
    (tmp_path / "big-disk").mkdir()
    (tmp_path / "home/models").mkdir(parents=True)
    store.folder(MODEL).symlink_to(tmp_path / "big-disk")
    pull()
    store.remove(MODEL)
    assert not store.folder(MODEL).is_symlink()
    assert (tmp_path / "big-disk" / CHECKPOINT).read_bytes() == DATA


@posix
def test_a_link_to_nowhere_is_removed(hub, tmp_path):
    (tmp_path / "home/models").mkdir(parents=True)
    store.folder(MODEL).symlink_to(tmp_path / "nowhere")
    store.remove(MODEL)
    assert not store.folder(MODEL).is_symlink()


def test_a_home_that_is_a_file_is_explained(hub, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HUMANPARSE_HOME", str(tmp_path / "file"))
    with pytest.raises(DownloadFailed, match="HUMANPARSE_HOME"):
        pull()


# ---- what is here --------------------------------------------------------------------------------


def make(source: Path, out: Path) -> None:
    out.write_bytes(b"onnx of " + source.read_bytes()[:10])


def test_a_converted_model_is_what_its_name_opens(hub):
    with pytest.raises(UnknownModel, match="humanparse models pull m2fp-r101-cihp"):
        model_file(MODEL.name)
    pull()
    file = store.adopt(MODEL, make)
    assert model_file(MODEL.name) == file == store.folder(MODEL) / "m2fp-r101-cihp.onnx"
    assert store.adopt(MODEL, lambda *_: pytest.fail("made twice")) == file
    (store.folder(MODEL) / CHECKPOINT).unlink()
    assert model_file(MODEL.name) == file


def test_a_failed_conversion_leaves_nothing(hub):
    def breaks(source, out):
        out.write_bytes(b"half")
        raise BrokenModel("no")

    def makes_two(source, out):
        out.write_bytes(b"x")
        out.with_suffix(".data").touch()

    pull()
    for failing in (breaks, lambda source, out: None, makes_two):
        with pytest.raises(BrokenModel):
            store.adopt(MODEL, failing)
    assert leftovers() == [CHECKPOINT, store.RECORD]


def test_nothing_is_converted_before_it_is_fetched(hub):
    with pytest.raises(BrokenModel, match="humanparse models pull"):
        store.adopt(MODEL, make)


def test_a_new_checkpoint_makes_the_old_conversion_stale(hub):
    pull()
    file = store.adopt(MODEL, make)
    (store.folder(MODEL) / CHECKPOINT).unlink()
    newer = os.urandom(9_000)
    hub.files[CHECKPOINT] = newer
    hub.listed[CHECKPOINT] |= {"Size": len(newer), "Sha256": entry(newer).sha256}
    pull()
    assert store.converted(MODEL) is None
    assert store.adopt(MODEL, make).read_bytes() == b"onnx of " + newer[:10]
    assert file.is_file()


def test_verify_tells_the_intact_from_the_damaged_and_the_missing(hub):
    assert store.verify(MODEL) == []
    pull()
    store.adopt(MODEL, make)
    assert {check.state for check in store.verify(MODEL)} == {"intact"}
    (store.folder(MODEL) / CHECKPOINT).write_bytes(bytes(len(DATA)))
    (store.folder(MODEL) / CONFIGURATION).unlink()
    assert [check.state for check in store.verify(MODEL)] == ["missing", "damaged", "intact"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"files": 3, "converted": null}',
        json.dumps(
            {
                "repo": "r",
                "revision": "v",
                "files": [{"path": "../../etc/passwd", "size": 1, "sha256": "0" * 64}],
                "converted": None,
                "made_from": "",
            }
        ),
    ],
)
def test_a_record_that_makes_no_sense_counts_as_none(hub, text):
    pull()
    (store.folder(MODEL) / store.RECORD).write_text(text)
    assert store.record(MODEL) is None
    assert store.verify(MODEL) == []
    assert pull().read_bytes() == DATA
    assert hub.times(CHECKPOINT) == 1  # the file itself was right, and is not fetched again


def test_remove_sets_everything_free(hub):
    assert store.remove(MODEL) == 0
    pull()
    assert store.remove(MODEL) > len(DATA)
    assert not store.folder(MODEL).exists()


def test_a_folder_with_one_model_stands_for_it(tmp_path):
    with pytest.raises(UnknownModel, match="holds none"):
        model_file(tmp_path)
    (tmp_path / "own.onnx").touch()
    assert model_file(tmp_path) == tmp_path / "own.onnx"
    (tmp_path / "other.onnx").touch()
    with pytest.raises(UnknownModel, match=r"holds other\.onnx, own\.onnx; give the file itself"):
        model_file(tmp_path)


def test_the_page_explains_every_limit():
    page = (Path(__file__).parents[2] / "docs/models.md").read_text("utf-8")
    for limit in fields(DownloadLimits):
        assert re.search(rf"\| `{limit.name}` \| {limit.default:,} \|".replace(",", " ?"), page), (
            limit.name
        )
