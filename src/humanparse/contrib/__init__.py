"""Adapters for other programs: CVAT, Label Studio, Hugging Face, rembg, ComfyUI and MCP.

Each is a module that is imported by its own name and by nothing else here. docs/hosts.md shows how
to connect each of them.
"""
