"""compose.yaml and kubernetes/ are valid, consistent, and fit the limits of the service."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from nginx_server import DEPLOY

from humanparse.service.settings import PREFIX, Settings

WEB_MB = 60  # what the web process holds, as docs/service.md says
END_S = 10  # to end jobs, cache and workers after the requests in flight
IMAGE = re.compile(r"docker\.io/\S+:\d+\.\d+\S*|humanparse(:\d+\.\d+\.\d+)?")
MB, GIB = 1_000_000, 2**30


def settings_of(environ: dict[str, str], cores: int) -> Settings:
    """The settings that those variables give. Raises OptionError for an impossible one."""
    names = {PREFIX + name.upper() for name in Settings.__dataclass_fields__}
    assert set(environ) <= names, set(environ) - names
    given = {
        "HUMANPARSE_HOST": "0.0.0.0",
        "HUMANPARSE_TOKEN": "secret",
        "HUMANPARSE_WORKERS": str(cores),
    }
    return Settings.from_env(environ | given)


def holds(settings: Settings) -> float:
    """The most memory that a server takes, in MB."""
    held = settings.queue_max_mb + settings.answers_max_mb + settings.cache_mb
    return WEB_MB + settings.workers * settings.worker_max_memory_mb + held


# compose.yaml


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = (DEPLOY / "compose.yaml").read_text()
    return yaml.safe_load(
        text.replace("${HUMANPARSE_TOKEN:?set it to a secret that clients must send}", "secret")
    )


def test_compose_is_as_its_specification_says(compose):
    package = pytest.importorskip(
        "check_jsonschema", reason="check-jsonschema, which brings the schema, is not installed"
    )
    import jsonschema

    schema = json.loads(
        (Path(package.__file__).parent / "builtin_schemas/vendor/compose-spec.json").read_text()
    )
    jsonschema.validators.validator_for(schema)(schema).validate(compose)


@pytest.mark.parametrize("name", ["pictures", "jobs", "nginx", "cache"])
def test_every_service_is_locked_in(compose, name):
    assert set(compose["services"]) == {"pictures", "jobs", "nginx", "cache"}
    service = compose["services"][name]
    assert (
        service["read_only"] is True
        and service["cap_drop"] == ["ALL"]
        and not service.get("cap_add")
    )
    assert service["security_opt"] == ["no-new-privileges:true"] and not service.get("privileged")
    assert (
        service["mem_limit"]
        and service["cpus"]
        and service["pids_limit"]
        and IMAGE.fullmatch(service["image"])
    )
    assert "build" in service or (
        service["user"].split(":")[0].isdecimal()
        and service["user"] != "0"
        and service["healthcheck"]
    )
    for one in service["tmpfs"]:
        assert {"noexec", "nosuid", "nodev"} <= set(one.split(":")[1].split(",")) and "size=" in one
    for one in service.get("volumes", []):
        source = one.split(":")[0]
        assert source in compose["volumes"] or (
            one.endswith(":ro") and (DEPLOY / source).is_file()
        ), one


def test_only_nginx_is_to_be_reached_and_nothing_inside_gets_out(compose):
    published = {
        name: service["ports"]
        for name, service in compose["services"].items()
        if "ports" in service
    }
    assert published == {"nginx": ["127.0.0.1:8080:8080"]}
    inside = {name for name, network in compose["networks"].items() if network.get("internal")}
    for name, service in compose["services"].items():
        assert name == "nginx" or set(service["networks"]) <= inside


@pytest.mark.parametrize("name", ["pictures", "jobs"])
def test_a_composed_server_fits_its_limits(compose, name):
    service = compose["services"][name]
    settings = settings_of(service["environment"], service["cpus"])
    assert service["environment"]["HUMANPARSE_WORKERS"] == str(service["cpus"])
    assert holds(settings) * MB < int(service["mem_limit"].removesuffix("g")) * GIB
    assert (
        int(service["stop_grace_period"].removesuffix("s"))
        >= settings.drain_delay_s + settings.drain_s + END_S
    )
    assert settings.redis_url.split("//")[1].split(":")[0] in compose["services"]


def test_nginx_knows_the_composed_servers(compose):
    named = re.findall(
        r"^ +server (\w+):(\d+)", (DEPLOY / "upstreams-compose.conf").read_text(), re.M
    )
    assert named == [("pictures", "7860"), ("jobs", "7860")] and {name for name, _ in named} < set(
        compose["services"]
    )


# kubernetes/

FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
OBJECTS = [one for file in FILES for one in yaml.safe_load_all(file.read_text())]
WORKLOADS = [one for one in OBJECTS if one["kind"] in ("Deployment", "StatefulSet")]
SERVERS = [
    one
    for one in WORKLOADS
    if one["metadata"]["name"] in ("humanparse-pictures", "humanparse-jobs")
]


def named(one: dict) -> str:
    return f"{one['kind']}-{one['metadata']['name']}"


def only(kind: str, name: str) -> dict:
    [found] = [one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pod(workload: dict) -> dict:
    return workload["spec"]["template"]["spec"]


def labels(workload: dict) -> dict[str, str]:
    return workload["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("one", OBJECTS, ids=named)
def test_kubernetes_knows_every_word(one):
    validator = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate, with the schemas, is not installed"
    )
    validator.validate(one, validator.latest_version(), strict=True)


def test_kustomize_names_every_file():
    kustomization = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [f"kubernetes/{file.name}" for file in FILES]
    maps = {
        one["name"]: [name.split("=")[-1] for name in one["files"]]
        for one in kustomization["configMapGenerator"]
    }
    assert all((DEPLOY / name).is_file() for names in maps.values() for name in names)
    maps |= {
        one["metadata"]["name"]: list(one["data"]) for one in OBJECTS if one["kind"] == "ConfigMap"
    }
    for workload in WORKLOADS:
        used = [
            volume["configMap"]["name"]
            for volume in pod(workload).get("volumes", [])
            if "configMap" in volume
        ]
        used += [
            source["configMapRef"]["name"]
            for box in pod(workload)["containers"]
            for source in box.get("envFrom", [])
        ]
        assert set(used) <= set(maps)


@pytest.mark.parametrize("one", WORKLOADS, ids=named)
def test_every_pod_is_restricted(one):
    """As the namespace's label demands (Pod Security Standards, restricted), and on a read-only
    file system besides."""
    spec = pod(one)
    security = spec["securityContext"]
    assert (
        security["runAsNonRoot"]
        and security["runAsUser"] > 0
        and security["seccompProfile"]["type"] == "RuntimeDefault"
    )
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False, (
        "HUMANPARSE_PORT would be tcp://…, from the service called humanparse"
    )
    for box in spec["containers"]:
        inner = box["securityContext"]
        assert inner["readOnlyRootFilesystem"] and not inner["allowPrivilegeEscalation"]
        assert inner["capabilities"] == {"drop": ["ALL"]}
        assert (
            box["resources"]["limits"]["memory"] == box["resources"]["requests"]["memory"]
            or box["name"] == "nginx"
        )
        assert {"cpu", "memory"} <= set(box["resources"]["limits"]) and IMAGE.fullmatch(
            box["image"]
        )
        assert box["readinessProbe"] and box["livenessProbe"]
        mounted = {mount["name"] for mount in box["volumeMounts"]}
        claims = {
            claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])
        }
        assert mounted == {volume["name"] for volume in spec["volumes"]} | claims


@pytest.mark.parametrize("one", SERVERS, ids=named)
def test_a_server_in_a_pod_fits_its_limits(one):
    [box] = pod(one)["containers"]
    settings = settings_of(
        only("ConfigMap", "humanparse-settings")["data"], int(box["resources"]["limits"]["cpu"])
    )
    assert holds(settings) * MB < int(box["resources"]["limits"]["memory"].removesuffix("Gi")) * GIB
    assert (
        pod(one)["terminationGracePeriodSeconds"]
        >= settings.drain_delay_s + settings.drain_s + END_S
    )
    ready = box["readinessProbe"]
    assert (
        settings.drain_delay_s
        > ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"]
    )
    started = box["startupProbe"]
    assert started["periodSeconds"] * started["failureThreshold"] > settings.worker_start_s
    assert (ready["httpGet"]["path"], box["livenessProbe"]["httpGet"]["path"]) == (
        "/readyz",
        "/healthz",
    )
    assert box["ports"][0]["containerPort"] == settings.port
    variables = {one["name"]: one["valueFrom"] for one in box["env"]}
    assert variables["HUMANPARSE_TOKEN"] == {"secretKeyRef": {"name": "humanparse", "key": "token"}}
    assert variables["HUMANPARSE_WORKERS"] == {"resourceFieldRef": {"resource": "limits.cpu"}}
    assert only("Service", settings.redis_url.split("//")[1].split(":")[0])


def test_there_is_one_server_for_jobs_with_a_disk_of_its_own():
    jobs = only("StatefulSet", "humanparse-jobs")
    assert jobs["spec"]["replicas"] == 1 and jobs["spec"]["volumeClaimTemplates"]
    assert not any(
        one["kind"] == "HorizontalPodAutoscaler"
        and one["spec"]["scaleTargetRef"]["name"] == "humanparse-jobs"
        for one in OBJECTS
    )


def test_everything_finds_its_pods():
    for one in OBJECTS:
        spec = one.get("spec", {})
        if one["kind"] in ("Deployment", "StatefulSet"):
            assert spec["selector"]["matchLabels"] == labels(one)
        elif one["kind"] == "Service":
            [found] = [workload for workload in WORKLOADS if labels(workload) == spec["selector"]]
            ports = {port["name"] for box in pod(found)["containers"] for port in box["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= ports
        elif one["kind"] == "PodDisruptionBudget":
            assert spec["selector"]["matchLabels"] in map(labels, WORKLOADS)
        elif one["kind"] == "HorizontalPodAutoscaler":
            assert only(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
        elif one["kind"] == "NetworkPolicy":
            for value in re.findall(
                r"'app.kubernetes.io/component': '(\w+)'|'values': (\[.*?\])", str(spec)
            ):
                wanted = {value[0]} if value[0] else set(yaml.safe_load(value[1]))
                assert wanted <= {
                    labels(workload)["app.kubernetes.io/component"] for workload in WORKLOADS
                }


def test_nginx_knows_the_pods_by_their_services():
    text = (DEPLOY / "upstreams-kubernetes.conf").read_text()
    for name in ("humanparse-pictures", "humanparse-jobs"):
        service = only("Service", name)
        assert service["spec"]["clusterIP"] == "None", "else nginx would see one address for all"
        namespace = only("Namespace", "humanparse")["metadata"]["name"]
        port = service["spec"]["ports"][0]["port"]
        assert f"server {name}.{namespace}.svc.cluster.local:{port} resolve" in text


def test_the_way_in_takes_what_nginx_takes():
    largest = max(
        map(int, re.findall(r"client_max_body_size (\d+)m", (DEPLOY / "nginx.conf").read_text()))
    )
    given = only("Ingress", "humanparse")["metadata"]["annotations"]
    assert (
        given["nginx.org/client-max-body-size"]
        == given["nginx.ingress.kubernetes.io/proxy-body-size"]
        == f"{largest}m"
    )
