"""ONNX Runtime: the engine that is always installed.

Other builds of it run on GPUs and other hardware as well (accelerators.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from humanparse.engines.accelerators import TABLE, Accelerator
from humanparse.errors import BrokenModel, OptionError
from humanparse.system.cores import usable_cores

onnxruntime.disable_telemetry_events()  # on Windows; for other systems see quiet.py

CPU = "CPUExecutionProvider"


class OnnxRuntimeEngine:
    """An .onnx file with one input and named outputs.

    Args:
        model: The file.
        threads: CPU threads for one run; None for every core that this process may use.
        device: "cpu", or an accelerator that ONNX Runtime reaches.

    Raises:
        BrokenModel: If the file is not an ONNX model that this ONNX Runtime can load.
        OptionError: For an accelerator that cannot be used.
    """

    def __init__(self, model: Path, threads: int | None = None, *, device: str = "cpu"):
        elsewhere = None if device == "cpu" else TABLE[device]
        threads = threads or usable_cores()
        providers = _providers(elsewhere, threads) if elsewhere else [CPU]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1 if elsewhere and elsewhere.one_thread else threads
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
        if elsewhere and elsewhere.provider not in self.session.get_providers():
            raise OptionError(
                f"{elsewhere.title} cannot be started here; check that there is "
                f"{elsewhere.hardware} and that its driver fits this ONNX Runtime, "
                "or choose the device cpu"
            )
        self.input_name = self.session.get_inputs()[0].name
        self.output_names = [output.name for output in self.session.get_outputs()]
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on one photo; see Engine.run."""
        values = self.session.run(self.output_names, {self.input_name: pixels})
        return dict(zip(self.output_names, values, strict=True))


def _providers(elsewhere: Accelerator, threads: int) -> list[str | tuple[str, dict[str, str]]]:
    """The execution providers for an accelerator, the wanted one first.

    Raises OptionError if this build has none for it.
    """
    if elsewhere.provider not in (here := onnxruntime.get_available_providers()):
        raise OptionError(
            f"this ONNX Runtime has no {elsewhere.title}, only {', '.join(here)}; "
            f"for {elsewhere.hardware}: {elsewhere.install}; or choose the device cpu"
        )
    options = {key: value.format(threads=threads) for key, value in elsewhere.options.items()}
    return [(elsewhere.provider, options), *elsewhere.helpers, CPU]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
