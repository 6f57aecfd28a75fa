"""Jobs with real workers and a server that is killed during them, and how much they may keep."""

import io
import json
import signal
import threading
import time
import zipfile

from served import serve
from waiting import running, until

from hardening.conftest import jpeg
from hardening.looking import ask, essence, get_json, metric

NUMBER = 10


def form(*pictures: bytes, name: str = "image") -> bytes:
    head = f'--seam\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'.encode()
    return b"".join(head + one + b"\r\n" for one in pictures) + b"--seam--\r\n"


def posted(served, *pictures: bytes, name: str = "image") -> tuple[int, dict]:
    status, _, body = ask(
        served,
        path="/v1/jobs?include=none",
        body=form(*pictures, name=name),
        headers={"content-type": "multipart/form-data; boundary=seam"},
    )
    return status, json.loads(body)


def test_a_server_killed_in_the_middle_of_jobs_loses_none_and_does_none_twice_in_the_output(
    tmp_path,
):
    pictures = [jpeg(200 + 8 * number) for number in range(NUMBER)]
    flags = ["--workers", "1", "--cache-mb", "0", "--log-level", "error"]
    id = None
    for _ in range(2):
        with serve(tmp_path, *flags) as served:
            id = id or posted(served, *pictures)[1]["id"]
            before = progress(served, id)
            until(
                lambda id=id, before=before: (
                    progress(served, id) > before or progress(served, id) == NUMBER
                ),
                "some progress",
            )
            workers = served.children()
            served.stop(signal.SIGKILL)
            until(lambda workers=workers: not any(map(running, workers)), "the end of the workers")
    with serve(tmp_path, *flags) as served:
        until(lambda: get_json(served, f"/v1/jobs/{id}")["state"] == "done", "the end of the job")
        lines = ask(served, "GET", f"/v1/jobs/{id}/results")[2].splitlines()
        found = [json.loads(line) for line in lines]
        expected = [essence(ask(served, body=one)[2]) for one in pictures]
        assert [one["index"] for one in found] == list(range(NUMBER))
        assert [essence(json.dumps(one["result"]).encode()) for one in found] == expected


def progress(served, id: str) -> int:
    job = get_json(served, f"/v1/jobs/{id}")
    return job["done"] + job["failed"]


def test_sigterm_under_load_answers_everything_that_was_accepted(tmp_path):
    pictures = [jpeg(300 + 8 * number) for number in range(NUMBER)]
    patience = ("--max-wait-s", "100", "--deadline-s", "100")  # the machine may be busy
    flags = ["--workers", "2", "--cache-mb", "0", "--log-level", "error", *patience]
    with serve(tmp_path, *flags) as served:
        statuses = []
        clients = [
            threading.Thread(target=lambda one=one: statuses.append(ask(served, body=one)[0]))
            for one in pictures
        ]
        for client in clients:
            client.start()
        until(
            lambda: metric(served, "humanparse_in_flight") >= NUMBER or len(statuses) >= NUMBER,
            "all requests inside",
        )
        workers = served.children()
        assert served.stop() == 0
        for client in clients:
            client.join(30)
        assert statuses == [200] * NUMBER
        until(lambda: not any(map(running, workers)), "the end of the workers")


def test_all_jobs_together_keep_no_more_than_they_may(tmp_path, photo):
    flags = ["--workers", "1", "--cache-mb", "0", "--jobs-max-mb", "0.1"]
    with serve(tmp_path, *flags) as served:
        status, first = posted(served, photo)
        assert status == 202
        until(
            lambda: get_json(served, f"/v1/jobs/{first['id']}")["state"] == "done",
            "the end of the job",
        )
        large = photo + bytes(100_000)  # bytes after a JPEG's end are ignored
        status, problem = posted(served, large)
        assert (status, problem["code"]) == (507, "storage_full") and "0.1 MB" in problem["detail"]
        until(lambda: stored(tmp_path) < 100_000, "the end of what was refused")

        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(3):
                archive.writestr(f"{number}.jpg", photo + bytes(60_000))
        status, job = posted(served, packed.getvalue(), name="archive")
        assert status == 202
        until(
            lambda: get_json(served, f"/v1/jobs/{job['id']}")["state"] == "failed",
            "an archive that unpacks to too much",
        )
        assert get_json(served, f"/v1/jobs/{job['id']}")["problem"]["code"] == "storage_full"
        until(lambda: stored(tmp_path) < 10_000, "the end of what was unpacked")

    with serve(
        tmp_path, "--workers", "1", "--jobs-max-mb", str(stored(tmp_path) / 1e6 + 0.001)
    ) as served:
        assert posted(served, photo)[0] == 507, "what a server before this one left is counted"
        assert ask(served, "DELETE", f"/v1/jobs/{first['id']}")[0] == 204
        assert ask(served, "DELETE", f"/v1/jobs/{job['id']}")[0] == 204
        until(lambda: stored(tmp_path) == 0, "the end of their files")


def stored(folder) -> int:
    try:
        return sum(
            file.stat().st_size for file in (folder / "data/jobs").rglob("*") if file.is_file()
        )
    except FileNotFoundError:  # gone while we looked
        time.sleep(0.01)
        return stored(folder)
