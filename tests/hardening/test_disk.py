"""Full or read-only disks: responses stay right, and /readyz and /metrics say what is wrong."""

import json
import os
import shlex
import shutil
import subprocess
from contextlib import contextmanager

import pytest
from served import serve
from waiting import until

from hardening.conftest import jpeg
from hardening.looking import ask, essence, get_json, metric

DISK_MB = 2
UNSHARE, NSENTER = shutil.which("unshare"), shutil.which("nsenter")


@contextmanager
def served_on_small_disk(folder, options: str = "rw"):
    """A server whose data is on a 2 MB disk that only it sees.

    Also gives a function that runs a command where it sees the disk.
    """
    data = folder / "data"
    data.mkdir()
    if (
        not UNSHARE
        or subprocess.run(
            [UNSHARE, "-m", "mount", "-t", "tmpfs", "none", str(data)], capture_output=True
        ).returncode
    ):
        pytest.skip("no disk may be mounted here")
    mount = f"mount -t tmpfs -o size={DISK_MB}m,{options} none {shlex.quote(str(data))}"
    inside = [UNSHARE, "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    with serve(
        folder, "--workers", "1", "--cache-mb", "0", "--cache-disk-mb", "1", before=inside
    ) as served:

        def within(*command):
            subprocess.run(
                [NSENTER, "-t", str(served.process.pid), "-m", *command],
                check=True,
                capture_output=True,
                timeout=30,
            )

        yield served, within, data


def job(served, photo, number=1):
    part = (
        b'--seam\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        + photo
        + b"\r\n"
    )
    return ask(
        served,
        path="/v1/jobs",
        body=part * number + b"--seam--\r\n",
        headers={"content-type": "multipart/form-data; boundary=seam"},
    )


def test_a_full_disk_changes_no_answer_is_reported_and_heals(tmp_path, photo):
    with served_on_small_disk(tmp_path) as (served, within, data):
        expected = essence(ask(served, body=photo)[2])
        until(lambda: ask(served, body=photo)[1]["x-cache"] == "hit", "the cache on disk")
        ballast = f"{shlex.quote(str(data))}/ballast"
        fill = f"head -c {DISK_MB * 1_048_576} /dev/zero > {ballast} 2>/dev/null; true"
        within("sh", "-c", fill)
        other = jpeg(200)
        assert essence(ask(served, body=photo)[2]) == expected and ask(served, body=other)[0] == 200
        status, _, body = job(served, photo)
        assert (status, json.loads(body)["code"]) == (507, "storage_full"), (
            "it says so where a file is needed"
        )
        until(
            lambda: ask(served, body=other)[0] == 200 and get_json(served, "/readyz")["degraded"],
            "the trouble in /readyz",
        )
        assert metric(served, "humanparse_degraded") >= 1
        assert str(tmp_path) not in json.dumps(get_json(served, "/readyz"))
        within("rm", f"{data}/ballast")
        until(lambda: job(served, photo)[0] == 202, "a job on the disk that has room again")
        until(
            lambda: (
                ask(served, body=jpeg(208))[0] == 200
                and not get_json(served, "/readyz")["degraded"]
            ),
            "the end of it",
        )


def test_a_read_only_disk_changes_no_answer_and_is_reported(tmp_path, photo):
    with served_on_small_disk(tmp_path, "ro") as (served, within, data):
        expected = essence(ask(served, body=photo)[2])
        assert essence(ask(served, body=photo)[2]) == expected
        status, _, body = job(served, photo)
        assert status in (503, 507), body
        until(
            lambda: (
                ask(served, body=jpeg(201))[0] == 200 and get_json(served, "/readyz")["degraded"]
            ),
            "the trouble in /readyz",
        )
        within("mount", "-o", "remount,rw", str(data))
        until(lambda: job(served, photo)[0] == 202, "a job on the disk that can be written again")


def test_compiled_models_that_are_kept_are_bounded_and_those_in_use_stay(tmp_path):
    engine = pytest.importorskip(
        "humanparse.engines.openvino", reason="needs OpenVINO", exc_type=Exception
    )
    for number in range(5):
        file = tmp_path / f"{number}.blob"
        file.write_bytes(bytes(100))
        file.with_suffix(".sha256").write_text("of it")
        os.utime(file, (number, number))
    (tmp_path / "other.txt").write_text("not ours")
    engine._make_room(tmp_path, max_bytes=250)
    assert {file.name for file in tmp_path.iterdir()} == {
        "3.blob",
        "3.sha256",
        "4.blob",
        "4.sha256",
        "other.txt",
    }
