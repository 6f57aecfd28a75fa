"""Models in other forms: checkpoints to ONNX files, and ONNX files to what other runtimes and
servers take."""
