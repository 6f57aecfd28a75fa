"""What `humanparse export --to web` writes; tests/page has what browsers make of it."""

import gzip
import json
import os
import re
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from humanparse.cli import app
from humanparse.cli.errors import BAD_USAGE, NO_MODEL
from humanparse.errors import DownloadFailed, MissingExtra, OptionError
from humanparse.export import onnxruntime_web, web
from humanparse.webpage import POLICY
from humanparse.weights.catalog import model_file

MODEL = model_file("humanparse-int8")
REFERENCES = re.compile(r"""(?:from |import\(|src=|href=|fetch\()["'`]([^"'`$:]+\.\w+)["'`]""")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A made-up archive of onnxruntime-web, and the checksum of this one as the pinned one."""
    folder = tmp_path_factory.mktemp("npm")
    (folder / "part").write_bytes(b"a part of the runtime")
    made = folder / "runtime.tgz"
    with tarfile.open(made, "w:gz") as files:
        for name in onnxruntime_web.FILES:
            files.add(folder / "part", f"package/dist/{name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime_web, "INTEGRITY", onnxruntime_web.integrity_of(made))
        yield made


@pytest.fixture(scope="module")
def site(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "site"
    web.write_web(MODEL, folder, archive)
    return folder


def known(site: Path) -> dict:
    """What the service worker knows of the site."""
    return json.loads((site / "site.js").read_text().removeprefix("self.SITE = ").strip(" ;\n"))


def test_every_file_that_page_and_library_name_is_there(site):
    named = {
        (path.parent / one if one.startswith(".") else site / one).resolve()
        for path in site.rglob("*")
        if path.suffix in (".js", ".html")
        for one in REFERENCES.findall(path.read_text())
    }
    assert len(named) > 40
    assert [path for path in named if not path.is_file()] == []


def test_the_model_and_the_runtime_are_those_that_were_given_and_their_sizes_are_told(site):
    assert gzip.decompress((site / web.MODEL).read_bytes()) == MODEL.read_bytes()
    assert gzip.decompress((site / web.RUNTIME).read_bytes()) == b"a part of the runtime"
    described = json.loads((site / "model.json").read_text())
    sizes = {
        "model": (site / web.MODEL).stat().st_size,
        "runtime": (site / web.RUNTIME).stat().st_size,
    }
    assert described["name"] == "humanparse-int8" and described["bytes"] == sizes


def test_the_same_export_gives_the_same_site_and_another_model_another_version(
    site, archive, tmp_path
):
    web.write_web(MODEL, tmp_path / "again", archive)
    web.write_web(model_file("humanparse-small"), tmp_path / "other", archive)
    assert known(tmp_path / "again") == known(site)
    assert known(tmp_path / "other")["version"] != known(site)["version"]


def test_the_policy_lets_webassembly_run_and_nothing_else_that_the_services_does_not(site):
    allowed = {part.strip() for part in web.WEB_POLICY.split(";")}
    services = {part.strip() for part in POLICY.split(";")}
    assert allowed - services == {"script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self'"}
    assert services - allowed == {"script-src 'self'"}
    assert 'http-equiv="Content-Security-Policy"' in (site / "index.html").read_text()
    lines = (site / "_headers").read_text().splitlines()[1:]
    assert (
        dict(line.strip().split(": ", 1) for line in lines) == web.HEADERS == known(site)["headers"]
    )


def test_the_manual_is_right_about_headers_limits_and_versions():
    manual = (Path(__file__).parents[2] / "docs/web.md").read_text(encoding="utf-8")
    for name, value in web.HEADERS.items():
        assert f"| `{name}` | `{value}` |" in manual or name == "Content-Security-Policy"
    for fact in (
        f"npm pack {onnxruntime_web.PACKAGE}",
        f"up to {web.MAX_FILE_MB} MB",
        f"more than {web.MAX_PIXELS / 1e6:g} megapixels",
        f"within {onnxruntime_web.MAX_FETCH_S / 60:g} minutes",
    ):
        assert fact in manual


def test_licences_of_everything_are_in_the_site(site):
    texts = {path.name: path.read_text() for path in (site / "licences").iterdir()}
    assert "Apache License" in texts["humanparse-LICENSE.txt"]
    assert "MIT License" in texts["onnxruntime-LICENSE.txt"]
    assert "public domain" in texts["photos.txt"]


def test_a_folder_with_something_in_it_is_left_as_it_is(site, archive):
    before = (site / "index.html").read_bytes()
    for place in (site, site / "index.html"):
        with pytest.raises(OptionError, match="is no empty folder; give a new one"):
            web.write_web(MODEL, place, archive)
    assert (site / "index.html").read_bytes() == before


def test_another_archive_than_the_pinned_one_is_refused(tmp_path, archive):
    other = tmp_path / "other.tgz"
    other.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(DownloadFailed, match=r"other.tgz is not onnxruntime-web@.*npm pack"):
        web.write_web(MODEL, tmp_path / "site", other)
    assert not (tmp_path / "site").exists()


def test_without_npm_the_line_to_run_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        MissingExtra, match=r"install Node.js.*npm pack onnxruntime-web@.*--runtime"
    ):
        onnxruntime_web.fetch_runtime(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
def test_a_relative_folder_is_one_for_npm_as_well(tmp_path, monkeypatch):
    """The stand-in goes where the real one does: to what it is told, seen from where it runs."""
    npm = tmp_path / "npm"
    npm.write_text(
        "#!/bin/sh\n"
        "while [ $# -gt 0 ]; do\n"
        '  [ "$1" = --pack-destination ] && { cd "$2" || exit 1; }\n'
        "  shift\n"
        "done\n"
        "echo packed > onnxruntime-web.tgz\n"
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    folder = Path("scratch")
    folder.mkdir()
    assert onnxruntime_web.fetch_runtime(folder).read_text() == "packed\n"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
def test_what_npm_complains_of_is_told_in_one_line(tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ECONNREFUSED' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = CliRunner().invoke(app, ["export", "--to", "web", "-o", str(tmp_path / "site")])
    assert done.exit_code == NO_MODEL and done.stderr.count("\n") == 1
    assert "could not fetch onnxruntime-web@" in done.stderr and "ECONNREFUSED" in done.stderr
    assert not (tmp_path / "site").exists()


def test_the_command_takes_the_archive_and_says_what_a_visit_transfers(tmp_path, archive):
    out = tmp_path / "site"
    done = CliRunner().invoke(
        app, ["export", "--to", "web", "-o", str(out), "--runtime", str(archive)]
    )
    assert done.exit_code == 0, done.output
    assert "note: a first visit transfers at most" in done.stdout
    # the budget of what is neither the model nor its runtime
    assert int(re.search(r"or (\d+) kB where the host compresses", done.stdout)[1]) < 200
    missing = str(tmp_path / "no.tgz")
    for to, runtime, says in (("web", missing, "there is no file"), ("onnx", archive, "for web")):
        more = ["--to", to, "-o", str(tmp_path / "x.onnx"), "--runtime", str(runtime)]
        done = CliRunner().invoke(app, ["export", *more])
        assert done.exit_code == BAD_USAGE and says in done.stderr
