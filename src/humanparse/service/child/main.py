"""A worker: the child process that decodes pictures and runs the models.

It is started by `python -m humanparse.service.child.main`, and speaks `wire` over stdin and stdout.
The first frame says what to load; the reply is {"ready": true, …} or {"fatal": "one line"}. After
that, each task is answered by one frame with the task's "id". When stdin ends, the worker ends at
once, whatever it is doing, so that none outlives its server, not even a server that was killed.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from humanparse.errors import HumanParseError, MissingExtra
from humanparse.service.problems import KINDS, Problem
from humanparse.service.work import wire
from humanparse.system.memory import peak_bytes, resident_bytes

Handler = Callable[[Mapping[str, Any], bytes], wire.Frame]

NICENESS = 5  # when cores are short, the server's quick responses go before the models
OOM_SCORE = 500  # of 1000: when memory runs out, the kernel takes a worker before the server
PR_SET_PDEATHSIG = 1


def main() -> int:
    """Load the models, then do tasks until stdin ends.

    Returns:
        The exit status of a worker that could not load; otherwise the process ends with stdin.
    """
    _leave_signals_to_the_server()
    source, sink = _take_wire()
    frames: queue.SimpleQueue[wire.Frame] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, frames), daemon=True).start()
    _stand_back()
    hello, _ = frames.get()
    try:
        answers, ready = _load(hello)
    except Exception as error:
        if not isinstance(error, HumanParseError):
            traceback.print_exc()
        _send(sink, {"id": hello["id"], "fatal": _one_line(error)})
        return 1
    _send(sink, {"id": hello["id"], "ready": True, **ready})
    while True:
        _send(sink, *_reply(answers, *frames.get()))


def _load(hello: Mapping[str, Any]) -> tuple[dict[str, Handler], dict[str, Any]]:
    """The handler of each kind of task, and what the server is told about the models."""
    _share_cores(hello["options"]["threads"])
    from humanparse.service.child import answers

    start = time.perf_counter()
    names, options = hello["models"], hello["options"]
    only = hello.get("only")  # the name of a model
    models = (
        answers.load(names, options) if only is None else answers.load_one(names, only, options)
    )

    def probe(head: Mapping[str, Any], blob: bytes) -> wire.Frame:
        answers.probe(models)
        return {}, b""

    handlers: dict[str, Handler] = {
        "parse": lambda head, blob: answers.answer(models, head, blob),
        "probe": probe,
        "unzip": _unzip,
        "clip": lambda head, blob: _clip(models, head),
    }
    loaded_s = time.perf_counter() - start
    return handlers, {
        "models": answers.describe(models),
        "loaded_s": round(loaded_s, 3),
        "rss_mb": rss_mb(),
    }


def _unzip(head: Mapping[str, Any], blob: bytes) -> wire.Frame:
    from humanparse.service.child import archive

    return archive.unzip(head), b""


def _clip(models: Any, head: Mapping[str, Any]) -> wire.Frame:
    from humanparse.service.child import clip

    return clip.parse_clip(models, head), b""


def _reply(answers: Mapping[str, Handler], task: Mapping[str, Any], blob: bytes) -> wire.Frame:
    """The reply to one task; an error becomes {"problem": {"code", "detail"}}."""
    try:
        head, body = answers[task["do"]](task, blob)
    except Exception as error:
        head, body = {"problem": _problem(error)}, b""
    return {**head, "id": task["id"], "rss_mb": rss_mb()}, body


def _problem(error: Exception) -> dict[str, Any]:
    """What a client may know about an error.

    Only errors raised on purpose are quoted; others may describe this machine.
    """
    if isinstance(error, Problem):
        return {"code": error.code, "detail": error.detail}
    if isinstance(error, MissingExtra):
        return {
            "code": "not_an_image",
            "detail": f"this service cannot read this format ({error}); send a JPEG or PNG",
        }
    if isinstance(error, HumanParseError) and error.code in KINDS:
        return {"code": error.code, "detail": str(error)}
    if isinstance(error, MemoryError):
        return {
            "code": "image_too_large",
            "detail": "the picture needs more memory than is available; send a smaller one",
        }
    traceback.print_exception(error)
    return {"code": "internal_error", "detail": "the parser failed unexpectedly"}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# The process


def _take_wire() -> tuple[BinaryIO, BinaryIO]:
    """Reserve stdin and stdout for frames.

    Whatever else is printed, also by native code, goes to stderr.
    """
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    faulthandler.enable()  # after a native crash, stderr says where it was
    return source, sink


def _read(source: BinaryIO, frames: queue.SimpleQueue[wire.Frame]) -> None:
    """Pass on frames.

    The process ends with stdin, even while the main thread is inside native code.
    """
    try:
        while True:
            frames.put(wire.receive_frame(source))
    except EOFError:
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _send(sink: BinaryIO, head: Mapping[str, Any], blob: bytes = b"") -> None:
    try:
        wire.send_frame(sink, head, blob)
    except OSError:  # the server is gone
        os._exit(0)


def _leave_signals_to_the_server() -> None:
    """Ignore signals that reach the whole process group, such as Ctrl-C.

    The server ends the workers when every request is answered.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _stand_back() -> None:
    """Leave cores and memory to the server, and end when it ends.

    No core file is written, since it would contain pictures.
    """
    if sys.platform == "win32":
        return
    import ctypes
    import resource

    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # in case native code keeps `_read` from running
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(OOM_SCORE))
        except OSError:
            pass  # not allowed in this container, so all processes are equal


def _share_cores(threads: int) -> None:
    """Limit numerical libraries to the worker's threads; they read this once, when loaded."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ.setdefault(name, str(threads))


def rss_mb() -> float:
    """Return this process's resident memory in MB.

    Where only the peak is known, that is returned; where nothing is known, 0.
    """
    return round((resident_bytes() or peak_bytes() or 0) / 1e6, 1)


if __name__ == "__main__":
    sys.exit(main())
