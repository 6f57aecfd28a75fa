"""A wall clock that jumps back and forth by a day: nothing expires early or late, nothing hangs."""

from pathlib import Path

import pytest
from served import serve
from waiting import until

from hardening.looking import ask, get_json, is_whole
from hardening.test_jobs import posted

LIBRARIES = [
    path
    for pattern in ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/lib*/faketime/libfaketimeMT.so.1")
    for path in Path("/").glob(pattern)
]
JUMPS = ("+1d", "-1d")


@pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed")
def test_jumps_of_a_day_expire_nothing_and_stop_nothing(tmp_path, photo):
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environ = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    day = 86_400
    flags = [
        "--workers",
        "1",
        "--cache-disk-mb",
        "1",
        "--cache-age-s",
        str(day // 2),
        "--job-age-s",
        str(day // 2),
        "--probe-s",
        "0.5",
        "--keep-alive-s",
        "5",
    ]
    with serve(tmp_path, *flags, environ=environ) as served:
        assert ask(served, body=photo)[1]["x-cache"] == "miss"
        job = posted(served, photo)[1]["id"]
        until(lambda: get_json(served, f"/v1/jobs/{job}")["state"] == "done", "the end of the job")
        for jump in JUMPS:
            day_before = today(served)
            offset.write_text(jump)
            until(lambda day_before=day_before: today(served) != day_before, "the jump")
            assert is_whole(served, 1), jump
            assert ask(served, body=photo)[1]["x-cache"] == "hit", (
                f"an answer of a moment ago expired at {jump}"
            )
            assert get_json(served, f"/v1/jobs/{job}").get("state") == "done", (
                f"a job of a moment ago expired at {jump}"
            )
            assert ask(served, body=photo + b" ")[0] == 200, "work goes on"
    offset.write_text("-2d")
    with serve(tmp_path, *flags, environ=environ) as served:
        assert ask(served, body=photo)[1]["x-cache"] == "hit", "nor does it over a restart"
        assert get_json(served, f"/v1/jobs/{job}")["state"] == "done"


def today(served) -> str:
    """The day on the server's wall clock."""
    return ask(served, "GET", "/healthz")[1]["date"][:16]
