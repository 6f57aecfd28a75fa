"""A clip as a job: limits, progress, results, and what interrupts it."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from pathlib import Path

import pytest
from coloured_clips import ColourParser, walk, write_clip
from fake_run import FakeRun, until
from jobs_here import FakeDispatcher, client_ended, ended, is_problem, made, started
from starlette.testclient import TestClient

from humanparse.errors import BrokenVideo, NotAVideo, UnknownModel, VideoTooLarge
from humanparse.service.app import create_app
from humanparse.service.child import answers
from humanparse.service.child import clip as child_clip
from humanparse.service.child.answers import Loaded
from humanparse.service.jobs import service as jobs_module
from humanparse.service.jobs.clip import clip_task
from humanparse.service.jobs.files import JobFiles
from humanparse.service.options import Options
from humanparse.service.problems import KINDS, Problem
from humanparse.service.settings import Settings
from humanparse.service.work.alone import run_alone

HEAD = Options(model="colours").head() | {"do": "clip", "source": "walk.mp4"}


@pytest.fixture(scope="session")
def walking(tmp_path_factory) -> Path:
    """A clip of one person, five frames."""
    return write_clip(tmp_path_factory.mktemp("clips") / "walk.mp4", walk(5))


class FakeClips:
    """Stands for the workers of clips: writes results, at once or when it is let."""

    def __init__(self):
        self.heads, self.records, self.ended, self.trouble, self.gate = [], [], 0, [], None

    async def __call__(self, head, timeout_s):
        self.heads.append(head)
        Path(head["to"]).mkdir(exist_ok=True)
        self.records.append(Path(head["to"], "record.jsonl").exists())
        Path(head["progress"]).write_text("[2, 5]")
        try:
            if self.gate:
                await self.gate.wait()
        finally:
            self.ended += 1
        if self.trouble:
            raise self.trouble.pop(0)
        for name, path in head["targets"].items():
            Path(path).write_text("{}" if name == "tracks" else name)
        return {"people": 1, "broken": None}


async def made_of_clip(jobs, data=b"clip"):
    async with jobs.incoming() as incoming:
        incoming.files.clip.write_bytes(data)
        jobs.quota.take(incoming.id, len(data))
        return await jobs.create(incoming, HEAD, [])


def with_jobs(folder, use, **given):
    async def go():
        async with started(folder, **given) as jobs:
            return await use(jobs)

    return asyncio.run(go())


def test_pictures_do_not_wait_behind_a_clip_and_other_clips_do(tmp_path):
    clips, run = FakeClips(), FakeRun()

    async def use(jobs):
        clips.gate = asyncio.Event()
        first, second = await made_of_clip(jobs), await made_of_clip(jobs)
        pictures = await made(jobs, b"a", b"b", b"c")
        assert (await ended(jobs, pictures.id)).done == 3
        shown = await jobs.get(first.id)
        assert (shown.state, shown.packed, shown.frames) == ("running", True, (2, 5))
        assert (await jobs.get(second.id)).state == "queued" and len(clips.heads) == 1
        clips.gate.set()
        assert [(await ended(jobs, one.id)).done for one in (first, second)] == [3, 3]
        sources = [item.source for item in await jobs.items(first.id)]
        assert sources == ["walk.overlay.webm", "walk.jsonl", "walk.tracks.json"]
        await until(lambda: not jobs.files(first.id).clip.exists())

    with_jobs(tmp_path, use, run=run, run_alone=clips)


def test_a_restart_begins_the_clip_again_from_what_is_there(tmp_path):
    async def stopped(jobs):
        clips.gate = asyncio.Event()
        job = await made_of_clip(jobs)
        await until(lambda: clips.heads)
        jobs.files(job.id).parsed_clip.joinpath("record.jsonl").write_text("frames")
        return job

    async def goes_on(jobs):
        assert (await ended(jobs, job.id)).state == "done" and clips.records == [False, True]
        await until(lambda: not jobs.files(job.id).parsed_clip.exists())

    clips = FakeClips()
    job = with_jobs(tmp_path, stopped, run_alone=clips, drain_s=0)
    clips.gate = None
    with_jobs(tmp_path, goes_on, run_alone=clips)


def test_cancelling_ends_the_worker_and_frees_the_space(tmp_path):
    clips = FakeClips()

    async def use(jobs):
        clips.gate = asyncio.Event()
        job = await made_of_clip(jobs)
        await until(lambda: clips.heads)
        assert (await jobs.cancel(job.id)).state == "cancelled"
        files = jobs.files(job.id)
        assert clips.ended == 1 and jobs.quota.num_bytes == 0
        assert not files.clip.exists() and not files.parsed_clip.exists()

    with_jobs(tmp_path, use, run_alone=clips)


@pytest.mark.parametrize(
    ("trouble", "code", "times"),
    [
        (Problem("not_a_video", "it is a song"), "not_a_video", 1),
        (Problem("worker_crashed", ""), "worker_crashed", 3),
        (Problem("body_too_large", ""), "storage_full", 1),
        (TimeoutError(), "video_too_large", 1),
    ],
)
def test_a_clip_that_cannot_be_parsed_fails_its_job(tmp_path, trouble, code, times, monkeypatch):
    monkeypatch.setattr("humanparse.service.jobs.runner.RETRY_S", (0, 0))
    clips = FakeClips()
    clips.trouble = [trouble] * 3

    async def use(jobs):
        job = await ended(jobs, (await made_of_clip(jobs)).id)
        assert (job.state, job.problem["code"]) == ("failed", code)
        assert len(clips.heads) == times

    with_jobs(tmp_path, use, run_alone=clips)


# What clients get


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "WATCH_S", 0)
    settings = Settings(data_dir=str(tmp_path / "data"), workers=1, video_max_mb=0.1)
    app = create_app(settings, dispatcher=FakeDispatcher())
    app.state.jobs = jobs_module.Jobs(settings, FakeRun(), run_alone=FakeClips())
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def send(client, data=b"clip", **options):
    return client.post("/v1/jobs", files={"video": ("walk.mp4", data)}, data=options)


def test_a_clip_becomes_a_job_with_three_results(client):
    answer = send(client, every="2", blur="face")
    assert answer.status_code == 202 and answer.json()["total"] is None
    job = client_ended(client, answer.json()["id"])
    assert (job["state"], job["total"], job["done"]) == ("done", 3, 3)
    assert job["frames"] == {"done": 2, "total": 5}
    path = job["links"]["results"]
    whole = client.get(f"{path}/0")
    assert (whole.text, whole.headers["content-type"]) == ("edited", "video/webm")
    part = client.get(f"{path}/0", headers={"range": "bytes=2-3"})
    assert (part.status_code, part.text) == (206, "it")
    lines = [json.loads(line) for line in client.get(path).text.splitlines()]
    assert [line["source"] for line in lines] == [
        "walk.edited.webm",
        "walk.jsonl",
        "walk.tracks.json",
    ]
    assert lines[0]["href"] == f"{path}/0" and lines[2]["result"] == {}
    with zipfile.ZipFile(io.BytesIO(client.get(job["links"]["results_zip"]).content)) as archive:
        assert archive.read("0000.webm") == b"edited" and archive.testzip() is None
    [head] = client.app.state.jobs._runner._run_alone.heads
    assert (head["every"], head["edits"], head["model"]) == (2, (("blur", "face"),), "small")


@pytest.mark.parametrize(
    "options", [{"every": "31"}, {"every": "1.5"}, {"crop": "face"}, {"format": "coco"}]
)
def test_options_that_do_not_fit_a_clip_are_refused(client, options):
    is_problem(send(client, **options), 422, "bad_option")
    assert not client.get("/v1/jobs").json()["jobs"]


def test_only_one_clip_of_the_size_that_is_allowed(client):
    assert "0.1 MB" in is_problem(send(client, b"x" * 100_001), 413, "body_too_large")
    two = [("video", ("a.mp4", b"a")), ("video", ("b.mp4", b"b"))]
    assert "several clips" in is_problem(client.post("/v1/jobs", files=two), 400, "bad_request")
    both = [("video", ("a.mp4", b"a")), ("image", ("b.jpg", b"b"))]
    assert "several kinds" in is_problem(client.post("/v1/jobs", files=both), 400, "bad_request")
    picture = client.post("/v1/jobs", files={"image": ("a.jpg", b"a")}, data={"every": "2"})
    is_problem(picture, 422, "bad_option")


# Inside the worker


def parsed(monkeypatch, folder, path, parser=None, options=HEAD, **limits):
    """What the worker answers, and its results by name."""
    files = JobFiles(folder, "job")
    if not files.folder.exists():
        files.create()
    files.clip.write_bytes(path.read_bytes())
    monkeypatch.setattr(child_clip, "with_options", lambda parser, head: parser)
    monkeypatch.setattr(child_clip, "TELL_S", 0)
    models = {"colours": Loaded(parser or ColourParser(), "abc")}
    max_mb = limits.pop("max_mb", 100)
    head = clip_task(options, files, Settings(workers=1, **limits), max_mb)
    reply = child_clip.parse_clip(models, head)
    return reply, {name: Path(target).read_bytes() for name, target in head["targets"].items()}


def test_the_worker_writes_a_clip_its_frames_and_its_tracks(tmp_path, monkeypatch, walking):
    reply, results = parsed(monkeypatch, tmp_path, walking)
    assert reply == {"people": 1, "broken": None}
    assert results["overlay"].startswith(b"\x1aE\xdf\xa3")
    frames = [json.loads(line) for line in results["jsonl"].splitlines()]
    assert [frame["people"][0]["track_id"] for frame in frames] == [1] * 5
    assert json.loads(results["tracks"])["frames"] == 5
    assert JobFiles(tmp_path, "job").clip_progress() == (5, 5)


def test_the_worker_goes_on_from_the_record(tmp_path, monkeypatch, walking):
    class Dies(ColourParser):
        def _parsed(self, image):
            if self.seen == 3:
                raise RuntimeError("killed")
            return super()._parsed(image)

    with pytest.raises(RuntimeError, match="killed"):
        parsed(monkeypatch, tmp_path, walking, Dies())
    parser = ColourParser()
    _, results = parsed(monkeypatch, tmp_path, walking, parser)
    assert parser.seen == 2 and len(results["jsonl"].splitlines()) == 5
    parser = ColourParser()  # another step: the record is of no use
    parsed(monkeypatch, tmp_path, walking, parser, HEAD | {"every": 2})
    assert parser.seen == 3


def test_a_clip_that_breaks_off_keeps_the_frames_before(tmp_path, monkeypatch, walking):
    whole = walking.with_suffix(".webm")
    write_clip(whole, walk(40))
    cut = tmp_path / "cut.webm"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    reply, results = parsed(monkeypatch, tmp_path, cut)
    assert reply["broken"]["code"] == "broken_video" and reply["broken"]["code"] in KINDS
    assert 10 < len(results["jsonl"].splitlines()) < 40
    cut.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(BrokenVideo):
        parsed(monkeypatch, tmp_path, cut)


def test_the_worker_holds_the_limits(tmp_path, monkeypatch, walking):
    for name, limit in (
        ("video_max_frames", 4),
        ("video_max_seconds", 0.2),
        ("video_max_megapixels", 0.003),
    ):
        with pytest.raises(VideoTooLarge, match=f" set {name}"):
            parsed(monkeypatch, tmp_path, walking, **{name: limit})
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\nfile:///etc/passwd\n")
    with pytest.raises(NotAVideo):
        parsed(monkeypatch, tmp_path, playlist)
    with pytest.raises(Problem, match="exceed"):
        parsed(monkeypatch, tmp_path, walking, max_mb=0.0001)


def test_the_worker_of_a_clip_keeps_only_the_model_that_was_asked_for(monkeypatch):
    class Named:  # a parser whose model is called otherwise than its file
        def __init__(self, model):
            self.name = {"one.onnx": "first", "two.onnx": "second"}.get(model, model)

    probed = []
    monkeypatch.setattr(answers, "probe", probed.extend)
    monkeypatch.setattr(answers, "HumanParser", Named)
    monkeypatch.setattr(answers, "model_file", lambda model: model)
    monkeypatch.setattr(answers, "sha256_of", lambda file: f"sum of {file}")
    files = ["one.onnx", "two.onnx", "third"]
    for name, found in (("", "first"), ("second", "second"), ("third", "third")):
        assert list(answers.load_one(files, name, {})) == [found]
    assert probed == ["first", "second", "third"]
    with pytest.raises(UnknownModel, match="no model 'fourth'"):
        answers.load_one(files, "fourth", {})


def test_no_file_of_the_server_becomes_a_background(tmp_path, monkeypatch, walking):
    picture = tmp_path / "secret.png"
    picture.write_bytes(b"secret")
    options = HEAD | {"edits": [["background", str(picture)]]}
    with pytest.raises(Exception, match="no colour") as refused:
        parsed(monkeypatch, tmp_path, walking, options=options)
    assert refused.value.code == "bad_option"


def test_a_real_worker_parses_a_clip_and_ends(tmp_path, walking):
    files = JobFiles(tmp_path, "job")
    files.create()
    files.clip.write_bytes(walking.read_bytes())
    settings = Settings(workers=1, engine="onnxruntime", worker_start_s=300)
    head = clip_task(HEAD | {"model": ""}, files, settings, 100)
    assert asyncio.run(run_alone(settings, head, 300))["broken"] is None
    assert files.result(0).stat().st_size > 100
