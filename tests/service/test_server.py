"""The server process: how it starts, how it reports that it cannot, and how it ends."""

import asyncio
import inspect
import json
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import Response
from raw_http import Client, request, served
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import Server as UvicornServer

from humanparse.errors import BrokenModel, OptionError
from humanparse.service.http.middleware import ServiceMiddleware
from humanparse.service.listener import bind
from humanparse.service.server import run
from humanparse.service.settings import Settings

QUICK = {"port": 0, "log_level": "error", "drain_s": 5}


def made(lifespan=None, **options) -> tuple[FastAPI, Settings]:
    settings = Settings(**(QUICK | options))
    app = FastAPI(lifespan=lifespan)
    app.add_middleware(ServiceMiddleware, settings=settings)

    @app.get("/hello")
    async def hello():
        return {"hello": "you"}

    return app, settings


# Starting


def test_port_0_takes_a_free_one_and_tells_which():
    with served(*made()) as running:
        assert running.port != 0
        with running.connect() as client:
            answer = client.get()
    assert answer.json() == {"hello": "you"}
    assert "server" not in answer.headers and "date" in answer.headers
    assert running.exit_code == 0


def test_ipv6_addresses_are_in_brackets():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with served(*made(host="::1")) as running:
        assert running.url == f"http://[::1]:{running.port}"


def test_an_address_in_use_is_one_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            OptionError, match=f"cannot listen on 127.0.0.1:{port}: the port is in use"
        ):
            run(*made(port=port))


def test_an_address_that_is_taken_while_we_start_is_the_same_clear_error():
    settings = Settings(**QUICK)
    with bind(settings) as first:
        port = first.getsockname()[1]

        @asynccontextmanager
        async def lifespan(app):
            first.listen()
            yield

        with pytest.raises(OptionError, match="the port is in use"):
            run(*made(lifespan, port=port))


def test_an_address_of_another_machine_is_one_clear_error():
    with pytest.raises(OptionError, match=r"cannot listen on 192\.0\.2\.1:0"):
        bind(Settings(host="192.0.2.1", no_auth=True, **QUICK))


def test_a_model_that_cannot_be_loaded_comes_out_as_that_error(capfd):
    @asynccontextmanager
    async def lifespan(app):
        raise BrokenModel("no such file: x.onnx")
        yield

    with pytest.raises(BrokenModel, match=r"^no such file: x\.onnx$"):
        run(*made(lifespan))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_clients_are_refused_until_it_is_ready():
    refused = []

    @asynccontextmanager
    async def lifespan(app):
        try:
            Client(app.state.port).socket.close()
        except ConnectionRefusedError:
            refused.append(True)
        yield

    with bind(Settings(**QUICK)) as free:
        port = free.getsockname()[1]
    app, settings = made(lifespan, port=port)
    app.state.port = port
    with served(app, settings):
        assert refused == [True]


# Ending


def slow_app(**options):
    app, settings = made(**options)
    app.state.begun, app.state.go_on = threading.Event(), threading.Event()

    @app.get("/slow")
    def slow():
        app.state.begun.set()
        app.state.go_on.wait(10)
        return {"done": True}

    return app, settings


def test_what_is_in_work_is_answered_before_the_end():
    app, settings = slow_app()
    with served(app, settings) as running, running.connect() as client:
        client.send(request("GET", "/slow"))
        app.state.begun.wait(5)
        running.stop()
        time.sleep(0.3)
        assert app.state.draining
        app.state.go_on.set()
        answer = client.answer()
        assert answer.json() == {"done": True}
        assert answer.headers["connection"] == "close"
    assert running.exit_code == 0


def test_what_does_not_end_in_time_gets_a_problem():
    app, settings = made(drain_s=0.2)

    @app.get("/endless")
    async def endless():
        await asyncio.sleep(60)

    with served(app, settings) as running, running.connect() as client:
        client.send(request("GET", "/endless"))
        time.sleep(0.2)
        running.stop()
        assert client.answer().code == "shutting_down"
    assert running.exit_code == 0


def test_requests_on_their_way_over_idle_connections_are_answered():
    with served(*made()) as running, running.connect() as client, running.connect() as fresh:
        assert client.get().status == 200
        running.stop()
        time.sleep(0.25)  # by now it would have closed what seems idle
        assert client.get().headers["connection"] == "close"
        assert fresh.get().status == 200
        assert client.is_closed() and fresh.is_closed()


def test_it_stays_open_for_load_balancers_while_it_is_not_ready():
    app, settings = made(drain_delay_s=0.6)
    with served(app, settings) as running:
        running.stop()
        time.sleep(0.3)
        with running.connect() as client:
            assert app.state.draining
            assert client.get().status == 200


def test_a_client_that_does_not_read_does_not_hold_up_the_end():
    app, settings = made(drain_s=0.3)

    @app.get("/big")
    async def big():
        return Response(bytes(20_000_000))

    with served(app, settings) as running, running.connect() as client:
        client.send(request("GET", "/big"))
        time.sleep(0.2)
        begun = time.monotonic()
        running.stop()
        while running.server.server_state.connections and time.monotonic() - begun < 5:
            time.sleep(0.05)
        assert time.monotonic() - begun < 5


# Signals, which need a process of their own

PROGRAM = """
    import asyncio, contextlib, sys, time
    from fastapi import FastAPI
    from humanparse.service.http.middleware import ServiceMiddleware
    from humanparse.service.server import run
    from humanparse.service.settings import Settings

    settings = Settings(port=0, drain_s=20)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        print("starting", flush=True)
        await asyncio.sleep(float(sys.argv[1]))
        yield
        print("ended", flush=True)

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(ServiceMiddleware, settings=settings)

    @app.get("/slow")
    async def slow():
        await asyncio.sleep(0.5)
        return {"done": True}

    @app.get("/stuck")
    async def stuck():
        await asyncio.sleep(60)

    async def reload():
        print("reload", flush=True)
    app.state.reload = reload

    sys.exit(run(app, settings))
"""


class Process:
    def __init__(self, start_s: float = 0):
        program = textwrap.dedent(PROGRAM)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(start_s)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "starting\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def connect(self) -> Client:
        line = self.process.stdout.readline()
        assert line.startswith("humanparse is ready at http://127.0.0.1:")
        return Client(int(line.rsplit(":", 1)[1]))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0_and_everything_answered(number):
    with Process() as program, program.connect() as client:
        client.send(request("GET", "/slow"))
        time.sleep(0.2)
        program.signal(number)
        assert client.answer().json() == {"done": True}
        out, err = program.process.communicate(timeout=20)
        assert (program.process.returncode, out) == (0, "ended\n")
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["message"] for line in lines] == ["ready", "stopping", "GET /slow 200"]


def test_a_second_signal_ends_it_at_once():
    with Process() as program, program.connect() as client:
        client.send(request("GET", "/stuck"))
        time.sleep(0.2)
        program.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert program.process.poll() is None
        program.signal(signal.SIGTERM)
        assert program.process.wait(timeout=5) == 128 + signal.SIGTERM


def test_a_signal_while_it_starts_ends_it():
    with Process(start_s=30) as program:
        program.signal(signal.SIGTERM)
        assert program.process.wait(timeout=10) == 0


def test_sighup_reloads():
    with Process() as program, program.connect() as client:
        program.signal(signal.SIGHUP)
        assert program.process.stdout.readline() == "reload\n"
        client.send(request("GET", "/slow"))
        assert client.answer().status == 200


def test_an_output_without_a_reader_is_no_reason_to_fail():
    with Process(start_s=0.2) as program:
        program.process.stdout.close()
        time.sleep(0.5)
        assert program.process.poll() is None
        program.process.stdout = None  # so that communicate() does not look at it


# What we rely on in uvicorn


def test_uvicorn_is_built_as_we_expect():
    """If this fails, uvicorn has changed.

    Compare http/connection.py, http/transport.py and server.py with it.
    """
    handle = inspect.getsource(H11Protocol.handle_events)
    assert "except h11.RemoteProtocolError:" in handle and "self.send_400_response(msg)" in handle
    assert "connection.shutdown()" in inspect.getsource(UvicornServer.shutdown)
    assert "with self.capture_signals():" in inspect.getsource(UvicornServer.serve)
    cycle = inspect.getsource(RequestResponseCycle)
    for name in (
        "disconnected",
        "message_event",
        "response_started",
        "response_complete",
        "keep_alive",
        "waiting_for_100_continue",
    ):
        assert f"self.{name} = " in cycle
    assert "self.on_response()" in cycle and "self.transport.close()" in cycle
    connected = inspect.getsource(H11Protocol.connection_made)
    assert "self.transport = transport" in connected and "FlowControl(transport)" in connected


def packages_loaded_with(module: str) -> set[str]:
    """The packages that a fresh process has imported after a module."""
    code = f"import sys, {module}\nprint(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.home()
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_workers_are_started_before_anything_of_the_web_is_imported():
    loaded = packages_loaded_with("humanparse.service.start")
    assert loaded.isdisjoint({"fastapi", "starlette", "uvicorn", "pydantic", "prometheus_client"})


def test_importing_the_server_loads_nothing_that_parses():
    loaded = packages_loaded_with("humanparse.service.server")
    assert loaded.isdisjoint({"torch", "onnxruntime", "cv2", "numpy", "PIL"})
