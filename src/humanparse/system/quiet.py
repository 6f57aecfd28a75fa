"""Keeps dependencies from reporting their use to their makers. Must run before they are loaded.

    ONNX Runtime   from 1.29 on, in every process that loads it: an identity and a database of
                   events below the user's home, and a connection to Microsoft. Only the environment
                   switches it off, and only before the library is loaded; later calls are ignored.
    OpenVINO, NNCF through the package openvino_telemetry; both work without it.
    Ray            see ray/cluster.py.

Settings that the user has made in the environment are kept.
"""

from __future__ import annotations

import os
import sys


def keep_quiet() -> None:
    """Switch all of that off, for this process and for those that it starts."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # None makes Python refuse the import, which typeshed does not know
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
