"""A model, as other runtimes and servers take it: what `humanparse export` writes (docs/export.md).

`triton.py` a model repository, `tensorrt.py` ONNX files and the lines that build engines of them, `openvino.py` OpenVINO's own
format, `whole.py` one ONNX file from a photo's pixels to the maps. `graph.py` is what they share. Not to be confused with
`convert/`, which makes the model files that all of them start from.
"""

from __future__ import annotations

from humanparse.deployment.graph import Agreement, Written
from humanparse.deployment.openvino import write_openvino
from humanparse.deployment.tensorrt import write_tensorrt
from humanparse.deployment.triton import write_triton
from humanparse.deployment.whole import write_whole

__all__ = ["Agreement", "Written", "write_openvino", "write_tensorrt", "write_triton", "write_whole"]
