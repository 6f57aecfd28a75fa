"""`humanparse batch --ray` on two nodes, one of which dies; and on a Ray of its own."""

from __future__ import annotations

import os
import socket
import tarfile
import uuid
from importlib.util import find_spec
from pathlib import Path

import pytest
from batch_helpers import (
    failures_in,
    finished,
    picture_bytes,
    rows_in,
    started,
    visible_files,
    write_photos,
)
from waiting import until

# looked for and not imported, which each worker would do, only to collect the tests
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install '.[ray]'")

PHOTOS = 3000  # enough that the run is in the middle when both nodes work


@pytest.fixture
def shards(tmp_path) -> list[str]:
    """Two tar files of 60 photos with a bad one each, and 40 rows of Parquet with an empty one.
    Their keys, good ones only."""
    import pyarrow as pa
    from pyarrow import parquet

    keys = []
    for shard in range(2):
        with tarfile.open(tmp_path / f"shard-{shard}.tar", "w") as tar:
            for number in range(60):
                (tmp_path / "one.png").write_bytes(
                    b"no picture" if number == 30 else picture_bytes(number)
                )
                tar.add(tmp_path / "one.png", f"{number:03}.png")
                keys += [f"shard-{shard}.tar/{number:03}.png"] if number != 30 else []
    images = [None if number == 7 else picture_bytes(number) for number in range(40)]
    parquet.write_table(pa.table({"image": images}), tmp_path / "table.parquet", row_group_size=15)
    return keys + [f"table.parquet/{number}" for number in range(40) if number != 7]


def test_a_node_that_dies_in_the_middle_loses_nothing(ray_cluster, tiny_model, shards, tmp_path):
    keys = [f"photos/{key}" for key in write_photos(tmp_path / "photos", PHOTOS)] + shards
    sources = [tmp_path / "photos", tmp_path / "shard-{0..1}.tar", tmp_path / "table.parquet"]
    out = tmp_path / "out"
    command = [
        *sources,
        "-o",
        out,
        "-m",
        tiny_model,
        "--ray",
        "--address",
        ray_cluster.address,
        "--rows",
        200,
    ]

    def both_work() -> bool:
        working = [
            any("MapWorker" in name for name in names) for names in ray_cluster.processes().values()
        ]
        return (
            len(working) == 2
            and all(working)
            and any(name.startswith("part-") for name in visible_files(out))
        )

    run = started(*command, env=ray_cluster.environment)
    try:
        until(
            lambda: run.poll() is not None or both_work(),
            "work on both nodes and a first part",
            200,
        )
        assert run.poll() is None, run.communicate()[1]
        ray_cluster.kill_node()
        _, said = run.communicate(timeout=240)
    finally:
        run.kill()
    assert run.returncode == 1, said  # the three bad pictures
    rows = rows_in(out)
    assert sorted(row["key"] for row in rows) == sorted(keys)
    assert all(len(row["people"]) == 1 for row in rows)
    bad = {
        "shard-0.tar/030.png": "not_an_image",
        "shard-1.tar/030.png": "not_an_image",
        "table.parquet/7": "broken_image",
    }
    assert failures_in(out) == bad
    # the local engine finds the same manifest, and nothing left to do
    assert "0 parsed" in finished(*command[:-5], code=1)


def test_our_own_ray_is_bound_to_loopback_and_ends_with_the_run(tiny_model, tmp_path):
    keys = write_photos(tmp_path / "photos", 300)
    mark = uuid.uuid4().hex
    run = started(
        tmp_path / "photos",
        "-o",
        tmp_path / "out",
        "-m",
        tiny_model,
        "--ray",
        "-j",
        2,
        "--rows",
        100,
        env=os.environ | {"HUMANPARSE_TEST_MARK": mark},
    )
    try:
        until(
            lambda: (
                run.poll() is not None
                or any(b"gcs_server" in name for name in named(mark).values())
            ),
            "Ray's head",
            120,
        )
        until(
            lambda: (
                run.poll() is not None or any(b"raylet" in name for name in named(mark).values())
            ),
            "Ray's node",
            120,
        )
        listening = {address for pid in named(mark) for address in addresses_of(pid)}
        _, said = run.communicate(timeout=240)
    finally:
        run.kill()
    assert run.returncode == 0, said
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"} and listening
    assert sorted(row["key"] for row in rows_in(tmp_path / "out")) == keys
    until(lambda: not named(mark), "the end of all processes of that Ray")


def test_no_ray_at_the_address_ends_at_once_with_2(tiny_model, tmp_path):
    write_photos(tmp_path / "photos", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [
        tmp_path / "photos",
        "-o",
        tmp_path / "out",
        "-m",
        tiny_model,
        "--ray",
        "--address",
        f"127.0.0.1:{port}",
    ]
    said = finished(*command, code=2)
    assert f"no Ray answers at 127.0.0.1:{port}" in said


def named(mark: str) -> dict[int, bytes]:
    """Command lines of the processes with that mark in their environment, by number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes():
                found[int(path.name)] = (path / "cmdline").read_bytes()
        except OSError:
            continue
    return found


def addresses_of(pid: int) -> set[str]:
    """The addresses on which a process listens for TCP."""
    sockets = set()
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            sockets.add(os.readlink(path))
        except OSError:
            continue
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                words = bytes.fromhex(fields[1].partition(":")[0])
                turned = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                found.add(socket.inet_ntop(family, turned))
    return found
