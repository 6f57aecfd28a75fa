"""What runs networks besides the processor: one row for each.

A new one is a row here, its name in `vocabulary.ACCELERATORS`, and a row of the table in
docs/speed-network.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_CUDA = "CUDAExecutionProvider"
_NVIDIA = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"


@dataclass(frozen=True)
class Accelerator:
    """One way to run a network elsewhere than on the processor's own cores.

    Attributes:
        engine: Which of `vocabulary.ENGINES` reaches it.
        title: What its makers call it.
        provider: What the engine calls it.
        hardware: What it runs on.
        install: How to get what it needs: a command, or a few words.
        options: The provider's options; "{threads}" in a value stands for the number of threads.
        helpers: Providers that run the layers that it does not know, before the processor does.
        one_thread: Whether the engine itself should use one thread, since the provider has its own.
        fixed_size: Whether it must know the input's size when it compiles a network.
    """

    engine: str
    title: str
    provider: str
    hardware: str
    install: str
    options: Mapping[str, str] = field(default_factory=dict)
    helpers: tuple[str, ...] = ()
    one_thread: bool = False
    fixed_size: bool = False


TABLE = {  # by the names in `vocabulary.ACCELERATORS`, in that order
    "cuda": Accelerator("onnxruntime", "CUDA", _CUDA, "an NVIDIA GPU", _NVIDIA),
    "tensorrt": Accelerator(
        "onnxruntime",
        "TensorRT",
        "TensorrtExecutionProvider",
        "an NVIDIA GPU",
        f"{_NVIDIA} tensorrt",
        helpers=(_CUDA,),
    ),
    "coreml": Accelerator(
        "onnxruntime",
        "Core ML",
        "CoreMLExecutionProvider",
        "an Apple GPU or Neural Engine",
        "pip install onnxruntime, on macOS",
        options={"ModelFormat": "MLProgram", "MLComputeUnits": "ALL"},
    ),
    "migraphx": Accelerator(
        "onnxruntime",
        "MIGraphX",
        "MIGraphXExecutionProvider",
        "an AMD GPU",
        "install ROCm and MIGraphX, then: "
        "pip uninstall -y onnxruntime && pip install onnxruntime-migraphx",
    ),
    "xnnpack": Accelerator(
        "onnxruntime",
        "XNNPACK",
        "XnnpackExecutionProvider",
        "an Arm or x86 processor",
        "build ONNX Runtime with --use_xnnpack",
        options={"intra_op_num_threads": "{threads}"},
        one_thread=True,
    ),
    "intel-gpu": Accelerator(
        "openvino",
        "Intel GPU",
        "GPU",
        "an Intel GPU",
        "pip install 'openvino>=2025.0', and Intel's GPU driver",
        options={"INFERENCE_PRECISION_HINT": "f32"},  # by itself it would round to fp16
    ),
    "intel-npu": Accelerator(
        "openvino",
        "Intel NPU",
        "NPU",
        "the NPU of an Intel processor",
        "pip install 'openvino>=2025.0', and Intel's NPU driver",
        fixed_size=True,
    ),
}
