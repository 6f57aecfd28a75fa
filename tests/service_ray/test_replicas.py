"""The replicas as the dispatcher sees them, with a deployment that replies as a test wants."""

import asyncio
import importlib.util
import json
import zipfile

import pytest
from waiting import soon

from humanparse.errors import MissingExtra, ModelError, OptionError
from humanparse.ray import cluster
from humanparse.ray.replicas import Replicas, State
from humanparse.service.problems import Problem
from humanparse.service.settings import Settings
from humanparse.service.work.dispatcher import Dispatcher, WorkItem
from humanparse.service.work.process import WorkerDied

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="needs Ray: pip install '.[ray]'"
    ),
    # of Ray, when it is imported
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
PARSE = {"do": "parse", "model": "first"}


class Made:
    """A deployment.

    act: what becomes of a task, given its head; raises or returns what a replica would.
    """

    def __init__(self, running=2, act=None, message="", needed=2):
        self.needed, self.running, self.message, self.act = (
            needed,
            running,
            message,
            act or (lambda head: {}),
        )
        self.about = {"replica": "a", "reload_error": "", "edition": "1", "loaded_at": 1.0}
        self.models = [{"name": "first", "sha256": "1"}]
        self.heads, self.cancelled, self.reloads, self.stopped = [], 0, 0, False

    def start(self):
        pass

    def handle(self):
        return self

    def state(self):
        return State(self.running, self.needed - self.running, True, self.message)

    def reload(self):
        self.reloads += 1

    def stop(self):
        self.stopped = True

    def leave(self):
        assert self.stopped

    def remote(self, head, blob, timeout_s):
        return Response(self, json.loads(head), blob)


class Response:
    def __init__(self, made, head, blob):
        self.made, self.head, self.blob = made, head, blob

    def cancel(self):
        self.made.cancelled += 1

    def __await__(self):
        return self._answer().__await__()

    async def _answer(self):
        made = self.made
        if self.head["do"] == "probe":
            return json.dumps({"models": made.models, "loaded_s": 0.5} | made.about), b""
        made.heads.append(self.head)
        said = made.act(self.head)
        if asyncio.iscoroutine(said):
            said = await said
        return json.dumps(said | made.about), self.blob[::-1]


def replicas(made, **settings) -> Replicas:
    return Replicas(Settings(workers=2, **settings), made, lambda: None)


def run(made, work, **settings):
    """Return the result of `work`, called with replicas that have started."""

    async def whole():
        these = replicas(made, **settings)
        await these.start()
        try:
            return await work(these)
        finally:
            await these.stop()

    return asyncio.run(whole())


def test_a_task_goes_to_a_replica_and_its_answer_comes_back():
    assert run(made := Made(), lambda these: these.call(PARSE, b"abc", 5)) == ({}, b"cba")
    assert made.heads == [{**PARSE, "default": True}] and made.stopped


def test_what_a_replica_says_of_its_child_is_raised_as_of_a_child_of_our_own():
    with pytest.raises(TimeoutError):
        run(Made(act=lambda head: {"timeout": True}), lambda these: these.call(PARSE, b"", 5))
    with pytest.raises(WorkerDied, match="signal 11") as death:
        run(
            Made(act=lambda head: {"died": "signal 11", "from_outside": False}),
            lambda these: these.call(PARSE, b"", 5),
        )
    assert not death.value.from_outside


def raising(error):
    def act(head):
        raise error

    return act


def test_rays_errors_become_ours():
    from ray import exceptions as ray_errors
    from ray.serve import exceptions as serve_errors

    full = serve_errors.BackPressureError(num_queued_requests=3, max_queued_requests=3)
    with pytest.raises(Problem) as problem:
        run(Made(act=raising(full)), lambda these: these.call(PARSE, b"", 5))
    assert problem.value.code == "queue_full" and problem.value.retry_after_s >= 1
    for error, from_outside in (
        (ray_errors.ActorDiedError(), True),
        (ray_errors.OutOfMemoryError("too much"), False),
    ):
        with pytest.raises(WorkerDied) as death:
            run(Made(act=raising(error)), lambda these: these.call(PARSE, b"", 5))
        assert death.value.from_outside == from_outside


def test_a_replica_that_dies_costs_a_second_attempt_and_nothing_else():
    from ray.exceptions import ActorDiedError

    deaths = [ActorDiedError()]

    def act(head):
        if deaths:
            raise deaths.pop()
        return {}

    async def whole(made):
        dispatcher = Dispatcher(
            Settings(workers=2), pool=lambda on_idle: Replicas(Settings(workers=2), made, on_idle)
        )
        await dispatcher.start()
        try:
            return await dispatcher.run(WorkItem(PARSE, b"abc", "digest")), dispatcher.status()
        finally:
            await dispatcher.stop(1)

    made = Made(act=act)
    reply, status = asyncio.run(whole(made))
    assert reply.blob == b"cba" and len(made.heads) == 2
    assert (status.workers, status.idle, status.models) == (2, 2, made.models)


def test_a_replica_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr("humanparse.ray.replicas.LATE_S", 0.05)
    made = Made(act=lambda head: asyncio.sleep(1000))
    with pytest.raises(WorkerDied, match="in time"):
        run(made, lambda these: these.call(PARSE, b"", 0.05))
    assert made.cancelled == 1


def test_no_more_tasks_go_out_than_there_are_replicas():
    async def work(these):
        return [these.take() is not None for _ in range(3)]

    assert run(Made(), work) == [True, True, False]


def test_with_autoscaling_more_tasks_go_out_than_there_are_replicas():
    async def work(these):
        return sum(these.take() is not None for _ in range(100))

    assert run(Made(), work, ray_max_replicas=5, ray_target_requests=2) == 10


def test_requests_that_named_no_model_are_answered_while_the_models_change():
    async def work(these):
        await these.call(PARSE, b"", 5)
        made.models, made.about = (
            [{"name": "second", "sha256": "2"}],
            made.about | {"edition": "2", "loaded_at": 2.0},
        )
        await these.call(PARSE, b"", 5)
        await soon(lambda: these.models == made.models, "the models")
        # it was in the queue meanwhile
        await these.call({"do": "parse", "model": "first"}, b"", 5)
        await these.call(
            {"do": "parse", "model": "another"}, b"", 5
        )  # the client asked for that one
        return [head["default"] for head in made.heads]

    made = Made()
    assert run(made, work) == [True, True, True, False]


def test_a_failed_reload_is_reported():
    async def work(these):
        made.about = made.about | {"reload_error": "model.onnx is damaged"}
        await these.reload()
        return these.last_reload_error

    made = Made()
    assert run(made, work) == "model.onnx is damaged" and made.reloads == 1


def test_an_archive_is_unpacked_here_where_its_file_is(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"\xff\xd8\xff")
    (tmp_path / "to").mkdir()
    head = {
        "do": "unzip",
        "path": str(tmp_path / "photos.zip"),
        "to": str(tmp_path / "to"),
        "max_images": 5,
        "max_image_mb": 1,
        "max_mb": 1,
    }
    answer, _ = run(made := Made(), lambda these: these.call(head, b"", 60))
    assert answer["images"] == 1 and made.heads == []


def test_a_model_that_cannot_be_loaded_ends_the_start_at_once():
    made = Made(
        running=0,
        message="Traceback …\nhumanparse.errors.BrokenModel: x.onnx is not a model\n"
        "Retrying 2 more times",
    )
    with pytest.raises(ModelError, match=r"^x\.onnx is not a model$"):
        run(made, None)
    assert made.stopped


def test_a_cluster_without_room_is_reported():
    with pytest.raises(
        OptionError,
        match=r"0 of 2 replicas started within 1 s .*3 CPUs and 0\.5 GPUs.*no room",
    ):
        run(
            Made(running=0, message="there is no room"),
            None,
            worker_start_s=1,
            ray_cpus_per_replica=3,
            ray_gpus_per_replica=0.5,
        )


def test_a_missing_ray_and_an_old_ray_are_reported(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.57.1")
    with pytest.raises(OptionError, match=r"Ray 2\.57\.1 .*2\.58"):
        cluster.join(None, cpus=1, object_store_bytes=1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'ray"):
        cluster.join(None, cpus=1, object_store_bytes=1)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(OptionError, match="ray_max_replicas is 2"):
        Settings(workers=3, ray_max_replicas=2)
    assert Settings(workers=1, ray_cpus_per_replica=4).threads == 4
