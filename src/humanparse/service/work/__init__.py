"""The queue and the worker processes, seen from the server. No NumPy, no engine."""
