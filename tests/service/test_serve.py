"""The whole service as its users meet it: real processes, real sockets, real signals."""

import base64
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import httpx2 as httpx
import pytest
import requests
from PIL import Image
from served import Served, serve, until, web

import humanparse
from humanparse.weights.catalog import model_file

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="signals and process lists of POSIX"
)
PHOTO = Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    # The machine may be busy with much else: nobody is turned away because of that.
    patience = ("--max-wait-s", "100")
    with serve(tmp_path_factory.mktemp("served"), "--cache-mb", "0", *patience) as served:
        yield served


def picture(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def parsed(served, photo: bytes) -> httpx.Response:
    return web.post(served.url + "/parse", content=photo, timeout=60)


@cache
def large_photo() -> bytes:
    """A photo that keeps a worker busy for a while."""
    file = io.BytesIO()
    Image.open(PHOTO).convert("RGB").resize((4000, 4000)).save(file, "JPEG")
    return file.getvalue()


def test_the_older_services_client_code_works_unchanged(served, tmp_path):
    url = served.url
    with open(PHOTO, "rb") as photo:
        result = requests.post(url + "/parse", files={"image": photo}).json()
    (tmp_path / "result.png").write_bytes(base64.b64decode(result["result_image"]))
    assert result["success"] and len(result["labels"]) > 5
    assert picture(tmp_path / "result.png").size == picture(PHOTO).size

    with open(PHOTO, "rb") as photo:
        (tmp_path / "result.jpg").write_bytes(
            requests.post(url + "/predict", files={"image": photo}).content
        )
    assert picture(tmp_path / "result.jpg").format == "JPEG"


def test_the_web_process_has_nothing_of_the_parser_loaded(served):
    maps = Path(f"/proc/{served.process.pid}/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    for library in ("onnxruntime", "numpy", "cv2", "PIL", "torch"):
        assert f"/{library}/" not in maps.read_text(), library


def test_requests_of_many_clients_at_once_are_all_answered(served):
    photo, answers = PHOTO.read_bytes(), []

    def send():
        answers.append(
            web.post(served.url + "/parse?include=none", content=photo, timeout=60).status_code
        )

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12


def test_a_worker_killed_in_the_middle_costs_nobody_an_answer_and_a_killed_server_leaves_none(
    tmp_path,
):
    with serve(tmp_path, "--workers", "1") as served:
        [worker], answers = served.children(), []
        busy = threading.Thread(target=lambda: answers.append(parsed(served, large_photo())))
        busy.start()
        until(lambda: '"busy":1' in web.get(served.url + "/readyz").text)
        os.kill(worker, signal.SIGKILL)
        busy.join()
        assert answers[0].status_code == 200, answers[0].text
        children = served.children()
        assert len(children) == 1 and children != [worker]
        served.stop(signal.SIGKILL)
        until(lambda: not any(_runs(pid) for pid in children))


def test_a_client_that_hangs_up_leaves_everything_as_it_was(served):
    with pytest.raises(httpx.ReadTimeout):
        web.post(served.url + "/parse", content=large_photo(), timeout=httpx.Timeout(30, read=0.05))
    until(lambda: '"busy":0' in web.get(served.url + "/readyz").text)
    assert (
        web.post(served.url + "/parse", content=PHOTO.read_bytes(), timeout=60).status_code == 200
    )


def test_sigterm_lets_the_request_in_flight_finish_and_ends_with_0(tmp_path):
    with serve(tmp_path, "--workers", "1") as served:
        answers = []
        busy = threading.Thread(target=lambda: answers.append(parsed(served, large_photo())))
        busy.start()
        until(lambda: '"busy":1' in web.get(served.url + "/readyz").text)
        children = served.children()
        assert served.stop() == 0
        busy.join()
    assert answers[0].status_code == 200
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_sigterm_while_it_starts_ends_with_0_and_leaves_no_worker(tmp_path):
    command = [sys.executable, "-m", "humanparse", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        served = Served(process, "", tmp_path)
        until(served.children)
        children = served.children()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"") and b"Traceback" not in err
    until(lambda: not any(_runs(pid) for pid in children))


def test_a_token_gives_access_and_a_reload_that_fails_keeps_the_old_model_and_says_so(tmp_path):
    model, token = tmp_path / "model.onnx", {"authorization": "Bearer sesame"}
    shutil.copy(model_file("humanparse-small"), model)
    flags = ("--model", str(model), "--workers", "1")
    with serve(tmp_path, *flags, environ={"HUMANPARSE_TOKEN": "sesame"}) as served:
        assert web.get(served.url + "/healthz").status_code == 200
        assert web.get(served.url + "/models").json()["code"] == "unauthorized"
        assert web.get(served.url + "/models", headers=token).status_code == 200
        model.write_bytes(b"no model any more")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: web.get(served.url + "/readyz").json()["degraded"])
        assert str(tmp_path) not in web.get(served.url + "/readyz").text
        photo = PHOTO.read_bytes()
        answer = web.post(served.url + "/parse", content=photo, headers=token, timeout=60)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--model", "broken.onnx", "--workers", "1"], 3, "broken.onnx"),
        (["--model", "no-such-model", "--workers", "1"], 3, "no-such-model"),
        (["--host", "0.0.0.0"], 2, "HUMANPARSE_TOKEN"),
        (["--port", "TAKEN"], 2, "the port is in use"),
    ],
)
def test_a_start_that_fails_prints_one_line(tmp_path, served, flags, code, words):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    flags = [served.url.rsplit(":", 1)[1] if flag == "TAKEN" else flag for flag in flags]
    command = [
        sys.executable,
        "-m",
        "humanparse",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path / "data"),
        *flags,
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert (
        words in done.stderr.splitlines()[-1]
        and "Traceback" not in done.stderr
        and done.stdout == ""
    )


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
