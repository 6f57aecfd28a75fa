"""ONNX Runtime on the CPU: the engine that the core install brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from humanparse.cores import usable_cores
from humanparse.errors import BrokenModel


class OnnxRuntimeEngine:
    """An .onnx file with one input and named outputs.

    threads: CPU threads for one run; None takes one for every core that this process may use.
    Raises BrokenModel if the file is not an ONNX model that this ONNX Runtime can load.
    """

    def __init__(self, model: Path, threads: int | None = None):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to others between runs
        try:
            self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a class of its own for each kind of damage
            raise BrokenModel(f"{model} is not an ONNX model that can be loaded ({_first_line(error)}); get it again") from error
        self.input_name = self.session.get_inputs()[0].name
        self.output_names = [output.name for output in self.session.get_outputs()]
        self.metadata = self.session.get_modelmeta().custom_metadata_map

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """See Engine.run."""
        values = self.session.run(self.output_names, {self.input_name: pixels})
        return dict(zip(self.output_names, values, strict=True))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
