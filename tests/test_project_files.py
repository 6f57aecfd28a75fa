"""The files around the code agree with each other and with the formats that others read them in."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import humanparse

ROOT = Path(__file__).parents[1]
# Every file that names the version of a release, and the lines in which it does.
VERSIONED = {
    "CITATION.cff": r"^version: (\S+)$",
    "deploy/Containerfile": r"^ARG VERSION=(\S+)$",
    "deploy/compose.yaml": r"image: humanparse:(\S+)",
    "deploy/kustomization.yaml": r"newTag: (\S+)",
    "deploy/ray/kuberay.yaml": r"image: humanparse-ray:(\S+)",
}
# Files that others read, and the published schema of each.
SCHEMAS = {
    "CITATION.cff": "citation-file-format",
    ".github/dependabot.yml": "dependabot",
    ".github/ISSUE_TEMPLATE/config.yml": "github-issue-config",
    **{
        f".github/ISSUE_TEMPLATE/{name}.yml": "github-issue-forms"
        for name in ("1-bug", "2-wrong-parse", "3-feature")
    },
    **{f".github/workflows/{name}.yml": "github-workflows" for name in ("ci", "release")},
}
KINDS_OF_CHANGE = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


class Yaml12(yaml.SafeLoader):
    """YAML 1.2 as GitHub reads it: `on` is a word and not a truth value, and a date is text."""


Yaml12.yaml_implicit_resolvers = {
    first: [one for one in resolvers if not one[0].endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def test_the_build_takes_the_version_from_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    path = ROOT / project["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{humanparse.__version__}"\n' in path.read_text("utf-8")


@pytest.mark.parametrize("path", VERSIONED)
def test_the_version_is_that_of_the_package(path):
    found = re.findall(VERSIONED[path], (ROOT / path).read_text("utf-8"), re.M)
    assert found, f"{path} names no version"
    assert set(found) == {humanparse.__version__}


@pytest.mark.parametrize("path", SCHEMAS)
def test_the_file_is_as_its_readers_expect(path):
    package = pytest.importorskip(
        "check_jsonschema", reason="check-jsonschema, which brings the schemas, is not installed"
    )
    import jsonschema

    folder = Path(package.__file__).parent / "builtin_schemas/vendor"
    schema = json.loads((folder / f"{SCHEMAS[path]}.json").read_text("utf-8"))
    content = yaml.load((ROOT / path).read_text("utf-8"), Loader=Yaml12)
    jsonschema.validators.validator_for(schema)(schema).validate(content)


def test_no_workflow_or_form_is_left_out_of_these_tests():
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / ".github").rglob("*.yml")}
    assert found and found <= set(SCHEMAS)


def test_only_a_release_may_write_and_only_where_it_must():
    for name in ("ci", "release"):
        workflow = yaml.load(
            (ROOT / f".github/workflows/{name}.yml").read_text("utf-8"), Loader=Yaml12
        )
        assert workflow["permissions"] == {"contents": "read"}
        for job, content in workflow["jobs"].items():
            may_write = {
                right for right, level in content.get("permissions", {}).items() if level == "write"
            }
            assert not may_write or (name, job) in {
                ("release", "pypi"),
                ("release", "image"),
                ("release", "draft"),
            }
            assert job in ("gate", "build", "floor") or "build" in content["needs"], (
                f"{job} does not wait"
            )


def test_nothing_is_published_before_every_check_has_passed():
    jobs = yaml.load((ROOT / ".github/workflows/release.yml").read_text("utf-8"), Loader=Yaml12)[
        "jobs"
    ]
    assert jobs["gate"]["uses"] == "./.github/workflows/ci.yml"
    assert "gate" in jobs["pypi"]["needs"] and "gate" in jobs["image"]["needs"]


def test_the_hooks_before_a_commit_are_whole():
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    hooks = {hook["id"]: hook for one in repositories for hook in one["hooks"]}
    assert {
        "ruff-check",
        "ruff-format",
        "mypy",
        "end-of-file-fixer",
        "check-toml",
        "check-yaml",
    } <= set(hooks)
    assert hooks["mypy"]["stages"] == ["manual"], "it takes too long to wait for at each commit"
    for one in repositories:
        assert one["repo"] == "local" or re.fullmatch(r"v\d+\.\d+\.\d+", one["rev"])
        assert one["repo"] != "local" or all(
            {"entry", "language"} <= set(hook) for hook in one["hooks"]
        )


def test_the_changelog_keeps_its_form():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    releases = re.findall(r"^## (.+)$", text, re.M)
    assert releases[0] == "[Unreleased]"
    assert all(
        re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", release) for release in releases[1:]
    )
    for section in re.split(r"^## .+$", text, flags=re.M)[1:]:
        kinds = re.findall(r"^### (.+)$", section, re.M)
        assert kinds == [kind for kind in KINDS_OF_CHANGE if kind in kinds], kinds
