"""A worker like the real one, but with replies that a test chooses and without NumPy, so it starts
fast.

    python fake_worker.py [FILE]     FILE says what to do at the start: "fatal", "die", "hang", or
                                     nothing for a good start

A task {"do": "parse", "act": …} makes it reply, be slow, break, hang or end in one of several ways.
"""

import ctypes
import os
import signal
import sys
import time
import types
from pathlib import Path

from humanparse.errors import BrokenImage, MissingExtra, ModelError
from humanparse.service.child import main
from humanparse.service.work import wire


def load(models, options):
    wish = Path(sys.argv[1]).read_text().split() if len(sys.argv) > 1 else [""]
    match wish[0] if wish else "":
        case "fatal":
            raise ModelError("the model\nis broken")
        case "surprise":
            raise ZeroDivisionError("in the loader")
        case "die":
            os._exit(3)
        case "hang":
            time.sleep(1000)
    return {"models": models, "wish": wish}


def describe(loaded):
    return [{"name": name, "wish": " ".join(loaded["wish"])} for name in loaded["models"]]


def probe(parsers):
    if parsers["wish"] == ["sick"]:
        raise ValueError("the model gives nonsense")


def answer(parsers, head, blob):
    act = head.get("act", "echo")
    if act.startswith("once "):  # "once FILE ACT": only the first time, while FILE exists
        file, act = Path(act.split()[1]), act.split()[2]
        act = act if file.exists() else "echo"
        file.unlink(missing_ok=True)
    match act.split("-"):
        case ["echo"]:
            pass
        case ["slow", seconds]:
            time.sleep(float(seconds))
        case ["hang"]:
            time.sleep(1000)
        case ["hog"]:
            ctypes.PyDLL(None).sleep(1000)  # native code that keeps the interpreter lock
        case ["exit"]:
            os._exit(7)
        case ["abort"]:
            os.abort()
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["print"]:
            print("hello from Python", flush=True)
            os.write(1, b"hello from native code\n")
        case ["garbage"]:
            os.write(WIRE, b"\xff" * 100)
        case ["otherid"]:
            os.write(WIRE, wire.LENGTHS.pack(11, 0) + b'{"id": 999}')
        case ["broken"]:
            raise BrokenImage("the picture breaks off")
        case ["heif"]:
            raise MissingExtra("HEIC photos need pillow-heif", "heif")
        case ["memory"]:
            raise MemoryError
        case ["surprise"]:
            raise ZeroDivisionError("/secret/path")
    return {
        "pid": os.getpid(),
        "size": len(blob),
        "signals": signal.getsignal(signal.SIGTERM) is signal.SIG_IGN,
    }, blob[::-1]


def take_wire():
    """As the real one, but remember the number of the pipe, to write invalid data to it."""
    global WIRE
    source, sink = _take_wire()
    WIRE = sink.fileno()
    return source, sink


WIRE = -1
_take_wire, main._take_wire = main._take_wire, take_wire
sys.modules["humanparse.service.child.answers"] = types.ModuleType("answers")
vars(sys.modules["humanparse.service.child.answers"]).update(
    load=load, describe=describe, probe=probe, answer=answer
)

if __name__ == "__main__":
    sys.exit(main.main())
