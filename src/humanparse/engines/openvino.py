"""OpenVINO on the CPU (extra: openvino): reads the same .onnx files as ONNX Runtime."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from humanparse.errors import BrokenModel, MissingExtra

# OpenVINO brings a package that reports usage, and does without where it cannot be imported. None makes it so.
sys.modules.setdefault("openvino_telemetry", None)
try:
    import openvino
except ImportError as error:
    raise MissingExtra("the openvino engine needs OpenVINO", "openvino") from error


class OpenVinoEngine:
    """An .onnx file with one input and named outputs, computed in fp32 on any processor.

    threads: CPU threads for one run; None leaves the choice to OpenVINO, which takes the cores that this process may use.
    Raises BrokenModel if the file is not an ONNX model that this OpenVINO can load.
    """

    def __init__(self, model: Path, threads: int | None = None):
        # Processors with bfloat16 would round to it unasked.
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        if Path(model).suffix != ".onnx":
            raise BrokenModel(f"{model} is not an .onnx file; give a model file of humanparse")
        try:
            network = openvino.Core().read_model(str(model))
            self.compiled = openvino.Core().compile_model(network, "CPU", options)
        except RuntimeError as error:
            raise BrokenModel(f"{model} is not an ONNX model that can be loaded ({_last_line(error)}); get it again") from error
        self.output_names = [output.any_name for output in self.compiled.outputs]
        texts = network.get_rt_info()["framework"] if network.has_rt_info(["framework"]) else {}
        self.metadata = {key: value.astype(str) for key, value in texts.items()}

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """See Engine.run."""
        request = self.compiled.create_infer_request()  # one a run: several threads must not share it
        values = request.infer([np.ascontiguousarray(pixels)])
        return {name: values[index] for index, name in enumerate(self.output_names)}


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
