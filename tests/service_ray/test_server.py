"""`humanparse serve --ray` on two Ray nodes, as its users meet it: it works as without Ray."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import httpx2 as httpx
import processes
import pytest
from served import serve, web
from waiting import until

import humanparse
from humanparse.weights.catalog import model_file

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or importlib.util.find_spec("ray") is None,
    reason="needs Ray on Linux: pip install '.[ray]'",
)
PHOTO = (Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg").read_bytes()
# the machine's two cores may be busy
PATIENCE = ("--worker-start-s", "150", "--deadline-s", "100", "--max-wait-s", "100")


def _tests_without_ray():
    path = Path(__file__).parents[1] / "service/test_serve.py"
    spec = importlib.util.spec_from_file_location("tests_without_ray", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WITHOUT_RAY = _tests_without_ray()
test_the_older_services_client_code_works_unchanged = (
    WITHOUT_RAY.test_the_older_services_client_code_works_unchanged
)
test_requests_of_many_clients_at_once_are_all_answered = (
    WITHOUT_RAY.test_requests_of_many_clients_at_once_are_all_answered
)
test_a_client_that_hangs_up_leaves_everything_as_it_was = (
    WITHOUT_RAY.test_a_client_that_hangs_up_leaves_everything_as_it_was
)


@pytest.fixture(scope="module")
def cluster(_two_nodes):
    _two_nodes.mend()
    return _two_nodes


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The model that the service has loaded; some tests replace it."""
    file = tmp_path_factory.mktemp("model") / "model.onnx"
    shutil.copy(model_file("humanparse-small"), file)
    return file


@pytest.fixture(scope="module")
def served(cluster, model, tmp_path_factory):
    """A server in front of one replica on each node."""
    flags = (
        "--workers",
        "2",
        "--threads",
        "1",
        "--ray-cpus-per-replica",
        "2",
        "--model",
        str(model),
        "--cache-mb",
        "0",
        "--queue-size",
        "12",
    )
    with serve(
        tmp_path_factory.mktemp("served"),
        "--ray",
        "--address",
        cluster.address,
        *flags,
        *PATIENCE,
        environ=cluster.environment,
    ) as served:
        yield served


def send(served, **given) -> httpx.Response:
    return web.post(served.url + "/parse?include=none", content=PHOTO, timeout=120, **given)


def send_many(
    served, clients: int, each: int = 1, during=lambda answers: None
) -> list[httpx.Response]:
    """Return the responses to this many concurrent clients.

    `during` is called while they arrive.
    """
    answers: list[httpx.Response] = []

    def client():
        for _ in range(each):
            answers.append(send(served))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        during(answers)
    finally:
        for thread in threads:
            thread.join()
    return answers


def ready(served) -> dict:
    return web.get(served.url + "/readyz", timeout=30).json()


def running_replicas(served) -> int:
    found = ready(served).get("workers", {"idle": 0, "busy": 0})
    return found["idle"] + found["busy"]


def test_both_nodes_answer(served, cluster):
    replicas = processes.replicas(cluster.environment["RAY_TMPDIR"])
    # each node has one
    assert len(replicas) == 2 and len({processes.parent(pid) for pid in replicas}) == 2
    before = {pid: processes.seconds_worked(processes.children(pid)) for pid in replicas}
    assert {answer.status_code for answer in send_many(served, clients=6)} == {200}
    for pid in replicas:
        assert processes.seconds_worked(processes.children(pid)) > before[pid]


def test_the_web_process_has_no_engine_and_no_decoder_loaded(served):
    maps = Path(f"/proc/{served.process.pid}/maps").read_text()
    for library in ("onnxruntime", "cv2", "PIL", "torch"):
        assert f"/{library}/" not in maps, library


def test_what_parses_never_meets_rays_token(served, cluster):
    for replica in processes.replicas(cluster.environment["RAY_TMPDIR"]):
        assert b"RAY_AUTH_TOKEN" in processes.environment(replica)
        [worker] = processes.children(replica)
        assert b"RAY_AUTH_TOKEN" not in processes.environment(worker)


def test_errors_have_the_one_shape(served):
    answer = web.post(
        served.url + "/parse", content=b"hello", headers={"content-type": "image/jpeg"}
    )
    assert (answer.status_code, answer.json()["code"]) == (415, "not_an_image")
    assert answer.headers["content-type"] == "application/problem+json"
    answer = web.post(served.url + "/parse?model=nonsense", content=PHOTO)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_model")


def test_jobs_and_their_archives_are_done(served, tmp_path):
    shutil.make_archive(
        str(tmp_path / "photos"),
        "zip",
        Path(humanparse.__file__).parent / "cli/demo",
        "astronaut.jpg",
    )
    with open(tmp_path / "photos.zip", "rb") as archive:
        job = web.post(
            served.url + "/v1/jobs", files={"archive": archive}, data={"include": "none"}
        ).json()
    until(
        lambda: web.get(f"{served.url}/v1/jobs/{job['id']}").json()["state"] == "done",
        "the job",
        60,
    )
    assert web.get(f"{served.url}/v1/jobs/{job['id']}/results/0").json()["people"]


def test_metrics_tell_of_the_replicas(served):
    text = web.get(served.url + "/metrics").text
    assert re.search(r'^humanparse_workers\{state="(idle|busy)"\} [12]', text, re.M)
    assert (
        float(re.search(r'^humanparse_memory_bytes\{process="worker-0"\} (\S+)', text, re.M)[1])
        > 1e7
    )


def test_too_many_requests_are_turned_away_as_without_ray(served):
    answers = send_many(served, clients=40)
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    for refused in (answer for answer in answers if answer.status_code == 429):
        assert (
            refused.headers["content-type"] == "application/problem+json"
            and int(refused.headers["retry-after"]) >= 1
        )
        assert refused.json()["code"] == "queue_full" and refused.json()["retryable"]


def test_a_replica_killed_under_load_costs_nobody_an_answer(served, cluster):
    victim = processes.replicas(cluster.environment["RAY_TMPDIR"])[0]
    children = processes.children(victim)

    def kill(answers):
        until(lambda: len(answers) >= 4, "the first answers", 60)
        os.kill(victim, signal.SIGKILL)

    answers = send_many(served, clients=6, each=6, during=kill)
    assert Counter(answer.status_code for answer in answers) == {200: 36}, [
        answer.text[:300] for answer in answers
    ]
    until(lambda: not any(map(processes.runs, children)), "the end of the killed replica's worker")
    until(
        lambda: len({*processes.replicas(cluster.environment["RAY_TMPDIR"])} - {victim}) == 2,
        "another replica",
        60,
    )
    until(lambda: running_replicas(served) == 2, "its readiness", 60)


def test_another_model_takes_over_without_a_failed_request(served, model, cluster):
    names, replicas = set(), processes.replicas(cluster.environment["RAY_TMPDIR"])

    def replace(answers):
        until(lambda: len(answers) >= 4, "the first answers", 60)
        new = model.with_suffix(".new")
        new.write_bytes(model.read_bytes().replace(b"humanparse-small", b"humanparse-other"))
        new.replace(model)
        served.process.send_signal(signal.SIGHUP)

    while "humanparse-other" not in names:
        answers = send_many(
            served, clients=4, each=8, during=replace if not names else lambda answers: None
        )
        assert {answer.status_code for answer in answers} == {200}, [
            answer.text[:300] for answer in answers
        ]
        names |= {answer.json()["model"] for answer in answers}
    assert names == {"humanparse-small", "humanparse-other"}
    # the same processes, with other children
    assert processes.replicas(cluster.environment["RAY_TMPDIR"]) == replicas
    until(
        lambda: web.get(served.url + "/models").json()["models"][0]["name"] == "humanparse-other",
        "the new name",
    )
    until(lambda: '"reloaded"' in served.log.read_text(), "the end of the reload", 60)


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_and_says_so(served, model):
    model.write_bytes(b"no model any more")
    served.process.send_signal(signal.SIGHUP)
    until(
        lambda: "the last reload failed" in str(ready(served).get("degraded")), "the bad news", 60
    )
    assert str(model.parent) not in web.get(served.url + "/readyz").text
    assert send(served).status_code == 200


def test_sigterm_lets_the_request_in_flight_finish_and_leaves_the_others_ray_alone(served, cluster):
    answers = []
    busy = threading.Thread(
        target=lambda: answers.append(WITHOUT_RAY.parsed(served, WITHOUT_RAY.large_photo()))
    )
    busy.start()
    until(lambda: ready(served)["workers"]["busy"] >= 1, "the request", 60)
    assert served.stop() == 0
    busy.join()
    assert answers[0].status_code == 200
    until(
        lambda: not processes.replicas(cluster.environment["RAY_TMPDIR"]),
        "the end of the replicas",
        60,
    )
    assert processes.raylets(cluster.environment["RAY_TMPDIR"])


def command(folder: Path, *flags: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "humanparse",
        "serve",
        "--ray",
        "--port",
        "0",
        "--data-dir",
        str(folder / "data"),
        *flags,
    ]


def test_a_missing_model_ends_the_start_with_one_line(cluster, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    flags = [
        "--address",
        cluster.address,
        "--workers",
        "1",
        "--model",
        str(tmp_path / "broken.onnx"),
        *PATIENCE,
    ]
    done = subprocess.run(
        command(tmp_path, *flags),
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 3, done.stderr
    assert (
        "broken.onnx" in done.stderr.splitlines()[-1]
        and "Traceback" not in done.stderr
        and done.stdout == ""
    )


def test_without_its_token_a_ray_refuses_access(cluster, tmp_path):
    strangers = {
        name: value
        for name, value in cluster.environment.items()
        if not name.startswith("RAY_AUTH")
    }
    done = subprocess.run(
        command(tmp_path, "--address", cluster.address),
        env={**strangers, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 2, done.stderr
    assert "RAY_AUTH_TOKEN" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def ray_folder(raylet: int) -> Path:
    return Path(
        re.search(r"--raylet_socket_name=(/\S+?)/session", processes.command_line(raylet))[1]
    )


def test_a_ray_of_our_own_listens_to_this_machine_alone_and_ends_with_the_service(tmp_path):
    with serve(tmp_path, "--ray", "--workers", "1", *PATIENCE) as served:
        ours = processes.descendants(served.process.pid)
        assert {
            address for pid in (served.process.pid, *ours) for address in processes.listening(pid)
        } <= {"127.0.0.1", "::1"}
        [raylet] = [pid for pid in ours if "raylet" in processes.name(pid)]
        assert b"RAY_AUTH_MODE=token" in processes.environment(raylet)
        folder = ray_folder(raylet)
        assert folder.parent.stat().st_mode & 0o077 == 0
        assert send(served).status_code == 200
        assert served.stop() == 0
    until(lambda: not any(map(processes.runs, ours)), "the end of Ray", 60)
    assert not folder.parent.exists()
    assert "Traceback" not in served.log.read_text()


@pytest.mark.long  # another Ray of its own; the one above tries the end that is wanted
def test_a_server_that_is_killed_leaves_nothing_that_works_on(tmp_path):
    with serve(tmp_path, "--ray", "--workers", "1", *PATIENCE) as served:
        ours = processes.descendants(served.process.pid)
        # which look for the other nodes for a minute
        agents = {pid for pid in ours if processes.command_line(pid).endswith("Agent")}
        assert len(ours) - len(agents) > 5
        [folder] = {ray_folder(pid) for pid in ours if processes.name(pid) == "raylet"}
        try:
            served.stop(signal.SIGKILL)
            until(
                lambda: not any(processes.runs(pid) for pid in ours if pid not in agents),
                "the end of Ray",
                60,
            )
        finally:
            for agent in filter(processes.runs, agents):
                os.kill(agent, signal.SIGKILL)
            shutil.rmtree(folder.parent, ignore_errors=True)
