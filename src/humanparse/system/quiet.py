"""Dependencies that report their use to their makers are kept from it, before they are loaded.

    ONNX Runtime   from 1.29 on, in every process that loads it: an identity and a database of events
                   below the user's home, and a connection to Microsoft. Only the environment
                   switches it off, and only before the library is loaded; later calls are ignored.
    OpenVINO, NNCF through the package openvino_telemetry, which both do without if it cannot be had.
    Ray            see cluster.py.

Whoever has chosen otherwise in the environment is obeyed.
"""

from __future__ import annotations

import os
import sys


def keep_quiet() -> None:
    """Switch all of that off for this process and for those that it starts."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.modules.setdefault("openvino_telemetry", None)
