"""What OpenVINO does to the process, seen from outside."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

SIGNALS = """
import os, signal
from humanparse.engines import open_engine
from humanparse.weights.catalog import model_file

handled = []
signal.signal(signal.SIGUSR1, lambda *_: handled.append(True))
older, newer = (open_engine("openvino", model_file(None)) for _ in range(2))
older = None
newer = None
os.kill(os.getpid(), signal.SIGUSR1)
print("handled", len(handled))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_signals_still_arrive_when_engines_are_closed_in_the_order_they_were_opened():
    done = subprocess.run(
        [sys.executable, "-c", SIGNALS], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "handled 1\n"), done.stderr
