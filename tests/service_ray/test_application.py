"""The files of deploy/ray are valid and agree with each other, and what they describe runs."""

import importlib.util
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx2 as httpx
import processes
import pytest
from served import free_port, web
from waiting import until

import humanparse
from humanparse.weights.catalog import model_file

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or importlib.util.find_spec("ray") is None,
    reason="needs Ray on Linux: pip install '.[ray]'",
)
yaml = pytest.importorskip("yaml")  # comes with Ray
DEPLOY = Path(__file__).parents[2] / "deploy/ray"
CONFIG = DEPLOY / "serve.yaml"
PHOTO = (Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg").read_bytes()


def manifest() -> dict:
    return yaml.safe_load((DEPLOY / "kuberay.yaml").read_text())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within Ray
def test_ray_serve_takes_the_config_file():
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text()))
    assert config.http_options.host == "127.0.0.1"
    assert [one.name for one in config.applications[0].deployments] == ["Parser"]


def test_kubernetes_runs_the_same_config_at_another_address():
    theirs, ours = (
        yaml.safe_load(manifest()["spec"]["serveConfigV2"]),
        yaml.safe_load(CONFIG.read_text()),
    )
    assert (
        theirs["http_options"].pop("host") == "0.0.0.0"
        and ours["http_options"].pop("host") == "127.0.0.1"
    )
    assert theirs == ours


def test_the_pods_have_a_token_no_root_and_room_for_all_replicas():
    cluster = manifest()["spec"]["rayClusterConfig"]
    assert cluster["authOptions"]["mode"] == "token"
    [workers] = cluster["workerGroupSpecs"]
    port = yaml.safe_load(CONFIG.read_text())["http_options"]["port"]
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        [container] = pod["containers"]
        assert (
            pod["securityContext"]["runAsNonRoot"]
            and not container["securityContext"]["allowPrivilegeEscalation"]
        )
        assert "HUMANPARSE_TOKEN" in {one["name"] for one in container["env"]}
        assert port in {
            one["containerPort"] for one in container["ports"] if one["name"] == "serve"
        }
    args = yaml.safe_load(CONFIG.read_text())["applications"][0]["args"]
    processors = int(workers["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert (
        workers["maxReplicas"] * processors
        >= args["ray_max_replicas"] * args["ray_cpus_per_replica"]
    )


def test_all_images_have_the_same_ray():
    image = (DEPLOY / "Containerfile").read_text()
    assert {
        manifest()["spec"]["rayClusterConfig"]["rayVersion"],
        *re.findall(r"ray:(\d[\d.]+\d)-", image),
        *re.findall(r"ray\[data,serve\]==([\d.]+)", image),
    } == {"2.60.0"}
    for copied in re.findall(r"^COPY --chown=ray (.*) \S+$", image, re.M):
        assert all((DEPLOY.parents[1] / one).exists() for one in copied.split())


@pytest.fixture(scope="module")
def deployed(_two_nodes, tmp_path_factory):
    """What `serve run` makes of the config file on two nodes.

    Returns the address, and the file, which can be changed and deployed again.
    """
    _two_nodes.mend()
    folder, url = tmp_path_factory.mktemp("deployed"), f"http://127.0.0.1:{free_port()}"
    config = yaml.safe_load(CONFIG.read_text())
    config["http_options"]["port"] = int(url.rpartition(":")[2])
    config["proxy_location"] = "HeadOnly"  # both nodes are on one machine, which has one such port
    config["applications"][0]["args"] |= {
        "data_dir": str(folder),
        "cache_mb": 0,
        "worker_start_s": 150,
        "deadline_s": 100,
        "max_wait_s": 100,
        "ray_max_replicas": 2,
        "ray_upscale_delay_s": 0,
    }
    (folder / "serve.yaml").write_text(yaml.safe_dump(config))
    with open(folder / "log.txt", "w") as log:
        process = subprocess.Popen(
            serve_run(_two_nodes, folder / "serve.yaml"),
            env=_two_nodes.environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: process.poll() is not None or status(url) == 200, "the application", 150)
        assert process.poll() is None, (folder / "log.txt").read_text()
        yield url, folder / "serve.yaml"
    finally:
        process.send_signal(signal.SIGINT)  # Ray Serve ends with it, Ray itself stays
        try:
            process.wait(60)
        finally:
            process.kill()


def serve_run(cluster, file: Path, *flags: str) -> list[str]:
    command = [
        sys.executable,
        "-c",
        "from ray.serve.scripts import cli; cli()",
        "run",
        "--address",
        cluster.address,
    ]
    return [*command, *flags, str(file)]


def send_until(url: str, done, answers: list[httpx.Response]) -> None:
    """Let four clients send the photo repeatedly until `done` returns."""
    enough = threading.Event()

    def client():
        while not enough.is_set():
            answers.append(web.post(url + "/parse?include=none", content=PHOTO, timeout=120))

    clients = [threading.Thread(target=client) for _ in range(4)]
    for one in clients:
        one.start()
    try:
        until(lambda: len(answers) > 4, "the first answers", 60)
        done()
    finally:
        enough.set()
        for one in clients:
            one.join()


def status(url: str) -> int:
    try:
        return web.get(url + "/readyz", timeout=10).status_code
    except httpx.TransportError:
        return 0


def test_the_application_answers_as_humanparse_serve_does(deployed):
    url, _ = deployed
    assert web.post(url + "/parse", files={"image": PHOTO}, timeout=120).json()["people"]
    refused = web.post(
        url + "/parse", content=b"hello", headers={"content-type": "image/jpeg"}, timeout=60
    )
    assert (refused.status_code, refused.json()["code"]) == (415, "not_an_image")
    assert refused.headers["content-type"] == "application/problem+json"
    assert "humanparse_workers" in web.get(url + "/metrics").text
    assert "<html" in web.get(url + "/").text


def test_another_model_in_the_file_takes_over_without_a_failed_request(deployed, _two_nodes):
    url, file = deployed
    model = file.with_name("other.onnx")
    model.write_bytes(
        model_file("humanparse-small")
        .read_bytes()
        .replace(b"humanparse-small", b"humanparse-other")
    )
    config = yaml.safe_load(file.read_text())
    config["applications"][0]["deployments"][0]["user_config"]["models"] = [str(model)]
    file.write_text(yaml.safe_dump(config))
    replicas = processes.replicas(_two_nodes.environment["RAY_TMPDIR"])
    answers = []

    def deploy():
        command = serve_run(_two_nodes, file, "--non-blocking")
        subprocess.run(
            command, env=_two_nodes.environment, check=True, timeout=200, capture_output=True
        )
        until(lambda: answers[-1].json().get("model") == "humanparse-other", "the other model", 60)

    send_until(url, deploy, answers)
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["model"] for answer in answers} == {
        "humanparse-small",
        "humanparse-other",
    }
    # the same as before, with other children
    assert set(replicas) <= set(processes.replicas(_two_nodes.environment["RAY_TMPDIR"]))
    until(
        lambda: web.get(url + "/models").json()["models"][0]["name"] == "humanparse-other",
        "the new name",
    )


def test_a_long_queue_brings_more_replicas_and_all_listen_where_ray_does(deployed, _two_nodes):
    def grown() -> bool:
        return len(processes.replicas(_two_nodes.environment["RAY_TMPDIR"])) == 2

    url, _ = deployed
    send_until(url, lambda: until(grown, "a second replica", 120), answers := [])
    assert {answer.status_code for answer in answers} == {200}
    for node in processes.raylets(_two_nodes.environment["RAY_TMPDIR"]):
        for pid in processes.children(node):
            assert processes.listening(pid) <= {"127.0.0.1", "::1"}, processes.command_line(pid)


def test_where_ray_serve_accepts_other_machines_they_need_a_token(monkeypatch):
    from humanparse.errors import OptionError
    from humanparse.ray import application

    monkeypatch.setattr("humanparse.ray.replica.keep_to_rays_address", lambda: None)
    monkeypatch.setattr(application, "_proxy_host", lambda: "0.0.0.0")
    with pytest.raises(OptionError, match="HUMANPARSE_TOKEN"):
        application._web({"workers": 1})
