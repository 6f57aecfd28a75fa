"""Cached responses are right or absent, whatever happens to the disk, Redis and the clock."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from humanparse.errors import MissingExtra, OptionError
from humanparse.service.cache import Cache, Cached, cache_key
from humanparse.service.cache import tiers as cache_module
from humanparse.service.cache.disk import DiskTier
from humanparse.service.cache.entry import Damaged, decode, encode
from humanparse.service.cache.memory import OVERHEAD, MemoryTier
from humanparse.service.clock import SteadyClock
from humanparse.service.settings import Settings

KEY, OTHER = (cache_key(letter * 64, "m", "f", {}) for letter in "ab")
ANSWER = Cached({"media_type": "application/json", "people": 2}, b'{"success":true}')


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


class FakeMetrics:
    """Stands in for Metrics."""

    def __init__(self):
        self.results, self.bytes = [], None

    def cache_result(self, result):
        self.results.append(result)

    def bind(self, cache_stats):
        self.bytes = cache_stats


def settings(folder, **given) -> Settings:
    return Settings(data_dir=str(folder), **({"cache_mb": 1, "cache_disk_mb": 1} | given))


@asynccontextmanager
async def started(settings, metrics=None):
    cache = Cache(settings, metrics)
    await cache.start()
    try:
        yield cache
    finally:
        await cache.stop()


def kept(folder, answer=ANSWER, key=KEY):
    """Let a server keep a response on disk, and stop."""

    async def keep():
        async with started(settings(folder)) as cache:
            await cache.put(key, answer)

    asyncio.run(keep())
    return folder / "cache" / key[:2] / key


def asked(folder, key=KEY, metrics=None, **given):
    """What a new server, with nothing in memory, has for a key."""

    async def ask():
        async with started(settings(folder, **given), metrics) as cache:
            return await cache.get(key)

    return asyncio.run(ask())


# The key


def test_the_key_depends_on_picture_model_file_and_options_and_on_nothing_else():
    base = cache_key("d", "m", "f", {"a": 1, "b": [1, 2]})
    assert base == cache_key("d", "m", "f", {"b": [1, 2], "a": 1})
    others = [
        cache_key("e", "m", "f", {"a": 1, "b": [1, 2]}),
        cache_key("d", "n", "f", {"a": 1, "b": [1, 2]}),
        cache_key("d", "m", "g", {"a": 1, "b": [1, 2]}),
        cache_key("d", "m", "f", {"a": 1, "b": [2, 1]}),
    ]
    assert len({base, *others}) == 5


def test_another_version_of_the_package_has_other_keys(monkeypatch):
    before = cache_key("d", "m", "f", {})
    monkeypatch.setattr("humanparse.service.cache.entry.__version__", "9.9")
    assert cache_key("d", "m", "f", {}) != before


@pytest.mark.parametrize(
    "key", ["", "../../etc/passwd", KEY.upper(), KEY + "\n", KEY[:-1], "a/" + KEY[2:]]
)
def test_anything_but_a_key_is_refused(tmp_path, key):
    with pytest.raises(ValueError, match="not a key"):
        asked(tmp_path, key)
    with pytest.raises(ValueError, match="not a key"):
        DiskTier(tmp_path, 1000, 10, time.time).get(key)


# Entries


def test_an_entry_comes_back_as_it_was():
    assert decode(KEY, encode(KEY, ANSWER, 12.5)) == (ANSWER, 12.5)


def test_any_changed_missing_or_added_byte_is_detected():
    data = encode(KEY, ANSWER, 12.5)
    changed = [
        data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] for place in range(len(data))
    ]
    cut = [data[:length] for length in range(len(data))]
    for damaged in (*changed, *cut, data + b"x", b""):
        with pytest.raises(Damaged):
            decode(KEY, damaged)


def test_an_entry_under_another_name_is_detected():
    with pytest.raises(Damaged, match="another key"):
        decode(OTHER, encode(KEY, ANSWER, 12.5))


# Memory


def test_the_least_recently_used_entry_leaves_memory_first():
    memory = MemoryTier(2 * (OVERHEAD + 100), 60, Clock())
    for key in ("a", "b"):
        memory.put(key, Cached({}, b"x" * 90), 1000)
    memory.get("a")
    memory.put("c", Cached({}, b"x" * 90), 1000)
    assert [key for key in "abc" if memory.get(key)] == ["a", "c"]
    assert memory.num_bytes == 2 * (OVERHEAD + 92)


def test_an_entry_larger_than_memory_is_not_kept_and_evicts_nothing():
    memory = MemoryTier(1000, 60, Clock())
    memory.put("a", Cached({}, b"x"), 1000)
    memory.put("b", Cached({}, b"x" * 2000), 1000)
    assert memory.get("a") and memory.get("b") is None


def test_memory_forgets_by_age_to_the_second():
    clock = Clock()
    memory = MemoryTier(10_000, 60, clock)
    memory.put("a", ANSWER, clock.now)
    memory.put("b", ANSWER, clock.now)
    clock.now += 60
    assert memory.get("a")
    clock.now += 1
    assert memory.get("a") is None and memory.num_bytes == 0


def test_a_caller_may_change_the_head_it_got():
    memory = MemoryTier(10_000, 60, Clock())
    memory.put("a", ANSWER, 1000)
    memory.get("a").head["people"] = 7
    assert memory.get("a").head["people"] == 2


def test_a_cache_of_no_size_keeps_nothing(tmp_path):
    async def ask():
        async with started(settings(tmp_path, cache_mb=0, cache_disk_mb=0)) as cache:
            await cache.put(KEY, ANSWER)
            return await cache.get(KEY)

    assert asyncio.run(ask()) is None
    assert not (tmp_path / "cache").exists()


# Disk


def test_an_answer_survives_a_restart(tmp_path):
    kept(tmp_path)
    metrics = FakeMetrics()
    assert asked(tmp_path, metrics=metrics) == Cached(ANSWER.head, ANSWER.body, "disk")
    assert metrics.results == ["hit_disk"] and metrics.bytes()["disk"] > 0
    assert asked(tmp_path, OTHER) is None


def test_what_was_found_on_disk_is_in_memory_then(tmp_path):
    kept(tmp_path)

    async def ask():
        async with started(settings(tmp_path)) as cache:
            return [(await cache.get(KEY)).tier for _ in range(2)]

    assert asyncio.run(ask()) == ["disk", "memory"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:40],
        lambda data: data[:-1],
        lambda data: data[:-1] + b"?",
        lambda data: b"x" * 5000,
    ],
    ids=["empty", "cut short", "one byte less", "one byte changed", "something else"],
)
def test_a_damaged_file_is_a_miss_and_is_deleted(tmp_path, damage):
    file = kept(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    disk, damaged = DiskTier(tmp_path / "cache", 10**6, 60, time.time), False
    try:
        assert disk.get(KEY) is None
    except Damaged:
        damaged = True
    assert damaged and not file.exists()


def test_damage_is_counted_and_the_response_kept_again(tmp_path):
    file = kept(tmp_path)
    good = file.read_bytes()
    metrics = FakeMetrics()

    async def ask():
        async with started(settings(tmp_path), metrics) as cache:
            file.write_bytes(good[:-1] + b"?")
            found = await cache.get(KEY)
            await cache.put(KEY, ANSWER)
            return found, cache.problems

    assert asyncio.run(ask()) == (None, [])
    assert metrics.results == ["corrupt", "miss"]
    assert asked(tmp_path).body == ANSWER.body


def test_swapped_files_are_never_served(tmp_path):
    one, two = kept(tmp_path), kept(tmp_path, Cached({}, b"of somebody else"), OTHER)
    one_bytes = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(one_bytes)
    assert asked(tmp_path, KEY) is None and asked(tmp_path, OTHER) is None


@pytest.mark.parametrize("what", ["file", "shard", "folder"])
def test_links_out_of_the_folder_are_not_followed(tmp_path, what):
    file = kept(tmp_path / "data")
    target = {"file": file, "shard": file.parent, "folder": file.parent.parent}[what]
    shutil.move(target, tmp_path / "elsewhere")
    target.symlink_to(tmp_path / "elsewhere")
    assert asked(tmp_path / "data") is None
    kept(tmp_path / "data", Cached({}, b"new"), OTHER)
    outside = {path.name for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()}
    assert outside == ({KEY} if what != "file" else set()) and (tmp_path / "elsewhere").exists()


def test_a_pipe_in_place_of_a_file_delays_nobody(tmp_path):
    file = kept(tmp_path)
    file.unlink()
    os.mkfifo(file)
    assert asked(tmp_path) is None


def test_a_disk_that_cannot_be_written_is_reported_and_breaks_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "/secret/path")

    monkeypatch.setattr("humanparse.service.cache.disk.write_private", full)

    async def ask():
        async with started(settings(tmp_path)) as cache:
            await cache.put(KEY, ANSWER)
            await asyncio.wait(cache._keeping)
            return await cache.get(KEY), cache.problems

    found, problems = asyncio.run(ask())
    assert found.body == ANSWER.body
    assert (
        len(problems) == 1
        and "No space left on device" in problems[0]
        and "secret" not in problems[0]
    )


def test_a_file_where_the_folder_should_be_breaks_nothing(tmp_path):
    (tmp_path / "cache").write_text("not a folder")

    async def ask():
        async with started(settings(tmp_path)) as cache:
            first = await cache.get(KEY)
            await cache.put(KEY, ANSWER)
            return first, await cache.get(KEY), cache.problems

    first, second, problems = asyncio.run(ask())
    assert first is None and second.body == ANSWER.body and problems


def test_a_disk_that_hangs_is_not_waited_for_and_recovers(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "DISK_WAIT_S", 0.05)
    monkeypatch.setattr(cache_module, "PAUSE_S", 0.2)
    kept(tmp_path)
    slow, right = [True], DiskTier.get

    def hanging(disk, key):
        time.sleep(0.3 if slow[0] else 0)
        return right(disk, key)

    monkeypatch.setattr(DiskTier, "get", hanging)

    async def ask():
        async with started(settings(tmp_path)) as cache:
            found = [
                await cache.get(KEY),
                await cache.get(KEY),
            ]  # the second time it does not even ask
            problems = cache.problems
            slow[0] = False
            await asyncio.sleep(0.5)
            return found, problems, await cache.get(KEY), cache.problems

    found, problems, later, left = asyncio.run(ask())
    assert found == [None, None] and "too long" in problems[0]
    assert later.tier == "disk" and not left


def test_the_disk_is_limited_and_the_least_recently_used_entry_goes_first(tmp_path):
    keys = [cache_key(str(number), "m", "f", {}) for number in range(4)]
    size = len(encode(keys[0], Cached({}, b"x" * 1000), 0.0))
    disk = DiskTier(tmp_path, 3 * size, 60, time.time)
    for key in keys[:3]:
        disk.put(key, Cached({}, b"x" * 1000), time.time())
    disk.get(keys[0])
    disk.put(keys[3], Cached({}, b"x" * 1000), time.time())
    assert [number for number, key in enumerate(keys) if disk.get(key)] == [0, 2, 3]
    assert (
        disk.num_bytes
        == 3 * size
        == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    )


def killed_while_writing(target) -> Path:
    """Be killed while writing a file; returns the half-written file."""
    before = set(target.parent.iterdir())
    code = (
        "import os, sys; from pathlib import Path; from humanparse.system.files import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as part:\n"
        "    part.write_text('half')\n"
        "    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, target]).returncode == 9
    (left,) = set(target.parent.iterdir()) - before
    return left


def test_a_sweep_counts_what_another_server_wrote_and_deletes_old_and_strange_files(tmp_path):
    clock = Clock()
    disk = DiskTier(tmp_path, 10**6, 60, clock)
    disk.put(KEY, ANSWER, clock.now - 50)
    disk.put(OTHER, ANSWER, clock.now)
    (tmp_path / KEY[:2] / ("f" * 64)).write_text("no entry")
    left = killed_while_writing(tmp_path / KEY[:2] / KEY)
    os.utime(left, (time.time() - 7200,) * 2)
    writing = killed_while_writing(tmp_path / KEY[:2] / KEY)
    clock.now += 20
    new = DiskTier(tmp_path, 10**6, 60, clock)
    new.sweep()
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {OTHER, writing.name}
    assert new.num_bytes == len(encode(OTHER, ANSWER, 0.0))
    assert new.get(OTHER) and new.get(KEY) is None


def test_a_full_folder_is_brought_within_bounds_at_start(tmp_path):
    big = DiskTier(tmp_path, 10**6, 60, time.time)
    for number in range(5):
        big.put(cache_key(str(number), "m", "f", {}), ANSWER, time.time())
    small = DiskTier(tmp_path, big.num_bytes // 2, 60, time.time)
    small.sweep()
    assert 0 < small.num_bytes <= big.num_bytes // 2
    assert small.num_bytes == sum(
        path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()
    )


# The clock


def test_an_answer_is_as_old_after_a_restart_as_before(tmp_path):
    """Its age counts from when it was created, wherever it was found."""
    kept(tmp_path)
    assert asked(tmp_path, cache_age_s=60) is not None
    time.sleep(1.1)
    assert asked(tmp_path, cache_age_s=1) is None


def test_setting_the_wall_clock_changes_no_age_not_even_over_a_restart(tmp_path):
    ticks, wall = Clock(500.0), Clock(1_700_000_000.0)
    clock = SteadyClock(tmp_path / "clock", ticks=ticks, wall=wall, boot=lambda: "boot")
    clock.save()
    start = clock.now()
    for jump in (86_400, -2 * 86_400):
        wall.now += jump
        ticks.now += 10
        again = SteadyClock(tmp_path / "clock", ticks=ticks, wall=wall, boot=lambda: "boot")
        assert again.now() == pytest.approx(clock.now())
    assert clock.now() - start == pytest.approx(20)


def test_leftovers_of_a_server_killed_while_saving_the_clock_are_deleted(tmp_path):
    left = killed_while_writing(tmp_path / "clock.json")
    os.utime(left, (time.time() - 7200,) * 2)
    SteadyClock(tmp_path / "clock.json").save()
    assert [path.name for path in tmp_path.iterdir()] == ["clock.json"]


def test_after_the_machine_was_off_the_wall_clock_says_for_how_long(tmp_path):
    ticks, wall = Clock(500.0), Clock(1_700_000_000.0)
    clock = SteadyClock(tmp_path / "clock", ticks=ticks, wall=wall, boot=lambda: "one")
    clock.save()
    before = clock.now()
    later = SteadyClock(
        tmp_path / "clock", ticks=Clock(3.0), wall=Clock(wall.now + 1000), boot=lambda: "two"
    )
    assert later.now() - before == pytest.approx(1000)
    back = SteadyClock(
        tmp_path / "clock", ticks=Clock(3.0), wall=Clock(wall.now - 1000), boot=lambda: "three"
    )
    assert back.now() >= before, "time never runs backwards"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"boot": 1}', '{"boot":"","ticks":"x","wall":1,"now":1}', "[" * 100_000],
)
def test_a_damaged_clock_file_starts_a_new_clock(tmp_path, content):
    (tmp_path / "clock").write_text(content)
    assert SteadyClock(tmp_path / "clock", wall=Clock(7.0)).now() == pytest.approx(7.0, abs=1)


# Redis


@pytest.fixture
def redis_server(tmp_path):
    """A Redis server for the tests: (port, start, stop)."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []

    def start():
        process = subprocess.Popen(
            [
                binary,
                "--port",
                str(port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                str(tmp_path),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        running.append(process)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("redis-server did not start")

    def stop():
        while running:
            process = running.pop()
            process.kill()
            process.wait()

    start()
    yield port, start, stop
    stop()


def shared(folder, port, **given) -> Settings:
    return settings(folder, cache_disk_mb=0, redis_url=f"redis://127.0.0.1:{port}/0", **given)


def test_an_invalid_address_and_a_missing_client_are_reported_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="redis_url cannot be read") as caught:
        Cache(settings(tmp_path, redis_url="http://:secret@host"))
    assert "secret" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra, match=r"pip install 'redis>="):
        Cache(settings(tmp_path, redis_url="redis://host"))


def test_servers_share_what_is_in_redis(tmp_path, redis_server):
    port, _, _ = redis_server

    async def ask():
        async with (
            started(shared(tmp_path / "one", port)) as one,
            started(shared(tmp_path / "two", port)) as two,
        ):
            await one.put(KEY, ANSWER)
            await asyncio.wait(one._keeping)
            return [(await two.get(KEY)).tier for _ in range(2)], await two.get(OTHER), two.problems

    assert asyncio.run(ask()) == (["redis", "memory"], None, [])


def test_an_answer_expires_in_redis_and_keeps_its_age_on_its_way_through(tmp_path, redis_server):
    port, _, _ = redis_server

    async def ask():
        async with started(shared(tmp_path / "one", port, cache_age_s=1)) as one:
            await one.put(KEY, ANSWER)
            await asyncio.wait(one._keeping)
            await asyncio.sleep(0.7)
            async with started(shared(tmp_path / "two", port, cache_age_s=1)) as two:
                first = await two.get(KEY)
                # 1.2 s old now, but only half a second of that in this server's memory
                await asyncio.sleep(0.5)
                return first, await two.get(KEY)

    first, second = asyncio.run(ask())
    assert first.body == ANSWER.body and second is None


def test_foreign_entries_in_redis_are_not_served_but_deleted(tmp_path, redis_server):
    port, _, _ = redis_server
    metrics = FakeMetrics()

    async def ask():
        async with started(shared(tmp_path, port), metrics) as cache:
            client = cache._shared._redis
            await client.set("humanparse:1:" + KEY, encode(OTHER, ANSWER, 0.0))
            return await cache.get(KEY), await client.exists("humanparse:1:" + KEY)

    assert asyncio.run(ask()) == (None, 0)
    assert metrics.results == ["corrupt", "miss"]


def test_many_look_ups_at_once_are_no_trouble(tmp_path, redis_server):
    port, _, _ = redis_server

    async def ask():
        async with started(shared(tmp_path, port)) as cache:
            found = await asyncio.gather(
                *(cache.get(cache_key(str(number), "", "", {})) for number in range(200))
            )
            return found, cache.problems

    assert asyncio.run(ask()) == ([None] * 200, [])


def test_a_redis_that_dies_breaks_no_answer_and_is_used_again_when_it_is_back(
    tmp_path, redis_server, monkeypatch
):
    port, start, stop = redis_server
    monkeypatch.setattr(cache_module, "PAUSE_S", 0.1)

    async def ask():
        async with started(shared(tmp_path, port, cache_mb=0)) as cache:
            await cache.put(KEY, ANSWER)
            await asyncio.wait(cache._keeping)
            before = await cache.get(KEY)
            stop()
            gone, problems = await cache.get(KEY), cache.problems
            start()
            await asyncio.sleep(0.2)
            await cache.put(KEY, ANSWER)
            await asyncio.wait(cache._keeping)
            return before, gone, problems, await cache.get(KEY), cache.problems

    before, gone, problems, after, left = asyncio.run(ask())
    assert before.tier == after.tier == "redis" and gone is None
    assert "in Redis" in problems[0] and "127.0.0.1" not in problems[0] and not left


def test_a_redis_that_accepts_and_is_silent_costs_a_moment_once(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        async def ask():
            async with started(shared(tmp_path, silent.getsockname()[1])) as cache:
                start = time.monotonic()
                found = [await cache.get(KEY) for _ in range(20)]
                return found, time.monotonic() - start, cache.problems

        found, seconds, problems = asyncio.run(ask())
    assert found == [None] * 20 and seconds < 2 and problems
