"""ONNX Runtime: the engine that is always installed.

Its build for NVIDIA GPUs, onnxruntime-gpu, runs on those as well.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from humanparse.errors import BrokenModel, OptionError
from humanparse.system.cores import usable_cores

onnxruntime.disable_telemetry_events()  # on Windows; for other systems see quiet.py

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxRuntimeEngine:
    """An .onnx file with one input and named outputs.

    Args:
        model: The file.
        threads: CPU threads for one run; None for every core that this process may use.
        device: "cpu" or "cuda".

    Raises:
        BrokenModel: If the file is not an ONNX model that this ONNX Runtime can load.
        OptionError: For a GPU that cannot be used.
    """

    def __init__(self, model: Path, threads: int | None = None, *, device: str = "cpu"):
        providers = _providers(device)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        # leave the cores to others between runs
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(str(model), options, providers=providers)
        except Exception as error:  # ONNX Runtime has one class for each kind of damage
            raise BrokenModel(
                f"{model} is not an ONNX model that can be loaded ({_first_line(error)}); "
                "get it again"
            ) from error
        # without a word ONNX Runtime falls back to the CPU
        if providers[0] not in self.session.get_providers():
            raise OptionError(
                "CUDA cannot be started here; check that driver and CUDA match onnxruntime-gpu, "
                "or choose the device cpu"
            )
        self.input_name = self.session.get_inputs()[0].name
        self.output_names = [output.name for output in self.session.get_outputs()]
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on one photo; see Engine.run."""
        values = self.session.run(self.output_names, {self.input_name: pixels})
        return dict(zip(self.output_names, values, strict=True))


def _providers(device: str) -> list[str]:
    """The execution providers for a device, the wanted one first.

    Raises OptionError if this build has none for it.
    """
    if device == "cpu":
        return [CPU]
    if CUDA not in (here := onnxruntime.get_available_providers()):
        raise OptionError(
            f"this ONNX Runtime has no CUDA, only {', '.join(here)}; for an NVIDIA GPU: "
            "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]', "
            "or choose the device cpu"
        )
    return [CUDA, CPU]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
