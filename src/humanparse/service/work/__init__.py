"""The queue and the worker processes, as the server sees them. No NumPy, no engine."""
