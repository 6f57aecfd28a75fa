"""How much memory and how many files a server holds: over hostile pictures, and many requests."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from served import serve
from waiting import until

from hardening import samples
from hardening.conftest import jpeg, quick_and_long
from hardening.looking import ask, is_whole, memory_mb, metric, open_files

WORKERS = 2
WORKER_MORE_MB, WEB_MORE_MB = 1000, 150
SLOPE_MB_PER_100 = 1.0


@pytest.mark.parametrize("rounds", quick_and_long(1, 5))
def test_every_hostile_picture_is_answered_and_costs_no_more_than_it_may(
    tmp_path, rounds, measured
):
    pictures = dict(samples.hostile()) | {"large-photo": jpeg(6300)}
    with serve(tmp_path, "--workers", str(WORKERS), "--cache-mb", "0") as served:
        until(lambda: is_whole(served, WORKERS), "a whole server")
        workers = served.children()
        idle = {pid: memory_mb(pid) for pid in (served.process.pid, *workers)}

        def answered(name):
            status, _, body = ask(served, path="/parse?include=rle,overlay", body=pictures[name])
            return name, status, "" if status == 200 else json.loads(body)["code"]

        with ThreadPoolExecutor(2) as clients:
            found = [one for _ in range(rounds) for one in clients.map(answered, pictures)]
        wrong = [one for one in found if one[1] not in (200, 413, 415, 422)]
        assert not wrong, "each is to be parsed, or told what is wrong with it"
        assert served.children() == workers, "none of them cost a worker"
        most = {pid: memory_mb(pid, "VmHWM") - before for pid, before in idle.items()}
        measured(
            "pictures, web process, workers",
            f"{len(found)}, +{most[served.process.pid]:.0f} MB, "
            + ", ".join(f"+{most[pid]:.0f} MB" for pid in workers),
        )
        assert max(most[pid] for pid in workers) <= WORKER_MORE_MB
        assert most[served.process.pid] <= WEB_MORE_MB


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_after_thousands_of_requests_it_holds_no_more_than_after_hundreds(
    tmp_path, photo, measured
):
    pictures = [photo, jpeg(640), samples.pictures()["png-rgba"], *samples.hostile().values()]
    pictures = [one for one in pictures if len(one) < 100_000]
    with serve(
        tmp_path,
        "--workers",
        "1",
        "--cache-mb",
        "1",
        "--log-level",
        "error",
        "--worker-max-requests",
        "100000",
    ) as served:
        pids = served.process.pid, *served.children()

        def requests(number):
            for turn in range(number):
                ask(served, body=pictures[turn % len(pictures)])
            return [memory_mb(pid) for pid in pids], len(open_files(pids[0]))

        requests(400)
        (before, files_before), (after, files_after) = requests(200), requests(2000)
        slopes = [(late - early) / 20 for early, late in zip(before, after, strict=True)]
        measured("MB per 100 requests: web process, worker", slopes)
        assert served.children() == list(pids[1:]) and max(slopes) < SLOPE_MB_PER_100
        assert files_after <= files_before + 3
        assert metric(served, "humanparse_queue_bytes") == 0
