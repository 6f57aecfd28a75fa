"""One ONNX graph from a photo to its maps, post-processing included."""
