"""A real server process from its first line: what it imports, opens, starts and connects to."""

import json
import os
import site
import sys
import sysconfig
from collections import defaultdict
from pathlib import Path

import pytest
from served import serve, web
from waiting import until

import humanparse
from hardening import samples
from hardening.looking import ask, get_json

WATCHED = Path(__file__).with_name("watched")
# They run code from data, or decode what strangers send, which the process that holds the token and
# the listening socket must not do. The module pickle itself is loaded, because Python's
# logging.handlers imports it, but nothing is unpickled.
NOT_IN_WEB = {
    "torch",
    "onnxruntime",
    "openvino",
    "cv2",
    "numpy",
    "PIL",
    "dill",
    "cloudpickle",
    "shelve",
    "joblib",
}
NOT_IN_WORKERS = {"torch", "dill", "cloudpickle", "shelve", "joblib"}
SYSTEM = ("/proc/", "/sys/", "/dev/null", "/dev/urandom", "/etc/", "/usr/", "/lib", "/opt/www/")
NAMES = (
    "../../../../etc/passwd",
    "a\r\nX-Injected: yes",
    "/etc/passwd\0.jpg",
    "C:\\windows\\x",
    "%2e%2e%2fx",
    "ü" * 300,
    '"; name="archive',
    "a.jpg\r\n\r\n--seam",
)
PATHS = (
    "/",
    "/docs",
    "/models",
    "/metrics",
    "/openapi.json",
    "/readyz",
    "/static/../../../etc/passwd",
    "//etc/passwd",
    "/static/..%2f..%2f..%2fetc/passwd",
    "/static//etc/passwd",
    "/v1/jobs/..%2f..%2fx",
    "/v1/jobs/%00",
    "/%0d%0aX-Injected:1",
)
OPTIONS = (
    "model=/etc/passwd",
    "model=../../x",
    "format=../../x",
    "palette=%0d%0aX-Injected:%20yes",
    "style=../x&model=%00",
)


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """What the processes did: {"web": {event: [arguments]}, "workers": {…}}, and their folder."""
    folder = tmp_path_factory.mktemp("process")
    written = folder / "notes"
    written.mkdir()
    environ = {"PYTHONPATH": str(WATCHED), "WATCHED": str(written)}
    with serve(folder, "--workers", "1", "--cache-disk-mb", "5", environ=environ) as served:
        web = served.process.pid
        visit(served)
        assert served.stop() == 0
    found = {"web": defaultdict(list), "workers": defaultdict(list)}
    for file in written.iterdir():
        for line in file.read_text().splitlines():
            event, arguments = json.loads(line)
            found["web" if file.stem == str(web) else "workers"][event].append(arguments)
    assert found["web"]["open"] and found["workers"]["open"]
    return found, folder


def visit(served):
    """Use some of everything that a server does, with names that try to lead elsewhere."""
    photo = samples.with_secrets(samples.painted(200, 160))
    for name in NAMES:
        disposition = f'Content-Disposition: form-data; name="image"; filename="{name}"'
        head = f"--seam\r\n{disposition}\r\n\r\n".encode()
        for path in ("/parse", "/v1/jobs"):
            status, headers, body = ask(
                served,
                path=path,
                body=head + photo + b"\r\n--seam--\r\n",
                headers={"content-type": "multipart/form-data; boundary=seam"},
            )
            assert status < 500 and "x-injected" not in headers and b"root:" not in body, (
                path,
                name,
            )
    for path in PATHS:
        status, headers, body = ask(served, "GET", path)
        assert status < 500 and "x-injected" not in headers and b"root:" not in body, path
    for options in OPTIONS:
        status, headers, _ = ask(served, path=f"/parse?{options}", body=photo)
        assert status == 422 and "x-injected" not in headers, options
    ask(served, "GET", "/healthz", headers={"x-request-id": "a" * 65, "x-forwarded-for": "1.2.3.4"})
    ask(served, body=samples.hostile()["pickle"])
    for job in get_json(served, "/v1/jobs")["jobs"]:
        until(
            lambda id=job["id"]: get_json(served, f"/v1/jobs/{id}")["state"] in ("done", "failed"),
            "the end of a job",
        )
        ask(served, "GET", f"/v1/jobs/{job['id']}/results.zip")
    assert (
        web.post(served.url + "/v1/batch", files=[("image", photo)] * 2, timeout=60).status_code
        == 200
    )


@pytest.mark.parametrize(
    ("process", "there", "unwanted"),
    [("web", "starlette", NOT_IN_WEB), ("workers", "numpy", NOT_IN_WORKERS)],
)
def test_nothing_is_unpickled_and_nothing_that_runs_code_from_data_is_there(
    notes, process, there, unwanted
):
    did = notes[0][process]
    imported = {one[0].partition(".")[0] for one in did["import"]}
    assert there in imported and not imported & unwanted
    assert not did["pickle.find_class"] and not did["os.system"]


@pytest.mark.parametrize("process", ["web", "workers"])
def test_nothing_connects_to_anywhere(notes, process):
    did = notes[0][process]
    assert not did["socket.connect"] and not did["socket.sendto"]
    # The one name that is looked up is the address to listen on.
    assert all("127.0.0.1" in str(one) for one in did["socket.getaddrinfo"] + did["socket.bind"])


def test_the_web_process_starts_nothing_but_workers_and_those_nothing(notes):
    started = notes[0]["web"]["subprocess.Popen"]
    assert started and all("humanparse.service.child.main" in str(one) for one in started)
    assert not notes[0]["workers"]["subprocess.Popen"] and not notes[0]["workers"]["os.exec"]


@pytest.mark.parametrize("process", ["web", "workers"])
def test_no_file_is_opened_outside_of_its_own_folders_and_the_system_s(notes, process):
    did, folder = notes[0][process], notes[1]
    data, home = (
        str(folder / "data"),
        os.environ.get("HUMANPARSE_HOME", str(Path("~/.cache/humanparse").expanduser())),
    )
    code = {
        sys.prefix,
        sys.base_prefix,
        *sysconfig.get_paths().values(),
        *site.getsitepackages(),
        str(WATCHED),
        str(Path(humanparse.__file__).parents[1]),
    }
    read, written = set(), set()
    for path, _, flags in (one for one in did["open"] if isinstance(one[0], str)):
        place = os.path.abspath(folder / path)
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        (written if writes else read).add(place)
    read = {one for one in read if not one.startswith((data, home, *code, *SYSTEM))}
    written = {one for one in written if not one.startswith((data, home)) and ".pyc" not in one}
    assert not read - {str(folder)}
    assert written <= {"/dev/null", "/proc/self/oom_score_adj"}
    assert not any("passwd" in str(one) for one in did["open"])
    assert all(
        str(folder / one[0]).startswith((data, home))
        for one in did["os.mkdir"]
        if "__pycache__" not in str(one[0])
    )
