"""Records what a Python process opens, imports, starts, unpickles and connects to.

test_process.py puts this folder into PYTHONPATH, and names a folder for the notes in WATCHED.
"""

import json
import os
import pickle
import sys
import threading

EVENTS = (
    "open",
    "import",
    "pickle.find_class",
    "socket.connect",
    "socket.sendto",
    "socket.getaddrinfo",
    "socket.bind",
    "subprocess.Popen",
    "os.exec",
    "os.system",
    "os.mkdir",
)
_notes = os.open(
    os.path.join(os.environ["WATCHED"], f"{os.getpid()}.txt"),
    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    0o600,
)
_noting = threading.local()


def _note(event, args):
    if event not in EVENTS or getattr(_noting, "now", False):
        return
    _noting.now = True
    try:
        plain = [one if isinstance(one, str | int) else repr(one)[:300] for one in args[:3]]
        os.write(_notes, json.dumps([event, plain]).encode() + b"\n")
    finally:
        _noting.now = False


def _noted(unpickle):
    def wrapper(*args, **kwargs):
        _note("pickle.find_class", (unpickle.__name__,))
        return unpickle(*args, **kwargs)

    return wrapper


# Loading a pickle of plain values raises no event of its own.
pickle.load, pickle.loads, pickle.Unpickler = map(
    _noted, (pickle.load, pickle.loads, pickle.Unpickler)
)
sys.addaudithook(_note)
