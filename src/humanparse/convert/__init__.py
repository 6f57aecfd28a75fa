"""Other people's checkpoints → files that humanparse runs: read (checkpoint.py), exported and checked (export.py, onnx.py)."""
