"""Lets every test module import the helpers that lie in this folder, such as `made_up`; and Ctrl-C
reach child processes."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ray_cluster import _two_nodes, ray_cluster  # noqa: F401  (fixtures for all tests; loads no Ray)

import humanparse  # noqa: F401  (before any test module loads ONNX Runtime, which it keeps quiet)

# A shell starts background commands with Ctrl-C ignored, and children inherit that: those that
# tests interrupt would go on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
