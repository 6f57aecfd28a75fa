"""Slow clients, and clients that leave: others do not notice, and nothing of them stays."""

import socket
import time
from contextlib import ExitStack, suppress

import pytest
from served import serve
from waiting import until

from hardening.conftest import jpeg, quick_and_long
from hardening.looking import ask, connected, metric, num_sockets, waited_s

FREED_S = 1  # as promised; a busy test machine gets ten times as long


def upload(length: int, path: str = "/parse?include=none") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("clients", "header_s", "body_s"),
    [
        pytest.param(90, 1, 2, id="90"),
        pytest.param(500, 10, 30, id="500", marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
def test_trickling_sockets_are_closed_in_time_and_others_do_not_feel_them(
    tmp_path, photo, clients, header_s, body_s, measured
):
    flags = [
        "--workers",
        "1",
        "--cache-mb",
        "50",
        "--header-timeout-s",
        header_s,
        "--body-timeout-s",
        body_s,
        "--write-timeout-s",
        body_s,
        "--keep-alive-s",
        1,
    ]
    large = jpeg(3000)
    with serve(tmp_path, *map(str, flags)) as served, ExitStack() as stack:
        picture = "/parse?format=overlay"
        # now it is cached, and comes at once
        assert ask(served, path=picture, body=large)[0] == 200
        before = num_sockets(served.process.pid)
        begun, ends, ask_s = time.monotonic(), {}, []
        heads = {
            "head": b"POST /parse HTTP/1.1\r\n",
            "body": upload(100_000),
            "read": upload(len(large), picture) + large,
        }
        sockets = {}
        for number in range(clients):
            kind = ("head", "body", "read")[number % 3]
            one = stack.enter_context(
                connected(served, receive_buffer=4096 if kind == "read" else 0)
            )
            with suppress(OSError):
                one.sendall(heads[kind])
            one.settimeout(0)
            sockets[one] = kind, begun if not number else time.monotonic()
        limits = {"head": header_s, "body": body_s, "read": body_s}
        while sockets and time.monotonic() - begun < 3 * body_s + 60:
            at_server = num_sockets(served.process.pid) - before
            for one, (kind, start) in list(sockets.items()):
                # A reader may still read from the system's buffers long after the server has
                # closed the connection.
                if is_over(one, kind) or (kind == "read" and at_server <= 1):
                    ends.setdefault(kind, []).append(time.monotonic() - start)
                    del sockets[one]
            asked = time.monotonic()
            assert ask(served, body=photo)[0] == 200
            ask_s.append(time.monotonic() - asked)
            time.sleep(0.2)
        assert not sockets, f"{len(sockets)} trickling sockets are still open"
        measured(
            "longest open by kind, slowest answer to another client",
            f"{ {kind: round(max(times), 1) for kind, times in ends.items()} }, {max(ask_s):.2f} s",
        )
        assert all(max(times) < limits[kind] + body_s + 15 for kind, times in ends.items())
        until(lambda: num_sockets(served.process.pid) <= before + 1, "the end of their sockets")


def is_over(one: socket.socket, kind: str) -> bool:
    """Send or read one more byte, and say whether the server has ended the connection."""
    try:
        if kind != "read":
            one.send(b"x")
        data = one.recv(1 if kind == "read" else 10_000)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not data or b" 408 " in data


@pytest.mark.parametrize("clients", quick_and_long(60, 1000))
def test_what_clients_that_leave_held_is_free_within_a_second(tmp_path, photo, clients, measured):
    with serve(
        tmp_path, "--workers", "2", "--cache-mb", "0", "--queue-size", "8", "--log-level", "error"
    ) as served:
        assert ask(served, body=photo)[0] == 200
        pid, jobs = served.process.pid, tmp_path / "data/jobs"
        until(lambda: num_sockets(pid) <= num_sockets(pid), "a moment")
        before = num_sockets(pid)
        form = b'--seam\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for number in range(clients):
            with connected(served) as one, suppress(OSError):
                match number % 3:
                    case 0:  # during an upload
                        one.sendall(upload(10 * len(photo)) + photo)
                    case 1:  # during inference, or in the queue
                        one.sendall(upload(len(photo)) + photo)
                        time.sleep(0.03)
                    case 2:  # during an upload that goes to disk
                        head = upload(5_000_000, "/v1/jobs").replace(
                            b"application/octet-stream", b"multipart/form-data; boundary=seam"
                        )
                        one.sendall(head + form + bytes(600_000))
        slowest_s = max(
            waited_s(
                lambda: metric(served, "humanparse_queue_bytes") == 0,
                "an empty queue",
                10 * FREED_S,
            ),
            waited_s(lambda: num_sockets(pid) <= before, "the end of their sockets", 10 * FREED_S),
            waited_s(lambda: not list(jobs.iterdir()), "the end of their files", 10 * FREED_S),
            waited_s(
                lambda: metric(served, "humanparse_in_flight") <= 1,
                "the end of their requests",
                10 * FREED_S,
            ),
        )
        measured("seconds until all is free", round(slowest_s, 2))
        assert ask(served, body=photo)[0] == 200 and served.process.poll() is None
