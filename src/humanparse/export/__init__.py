"""Models in other forms: checkpoints as ONNX files, and these for other runtimes and servers."""
