"""Edits of a photo by its regions: hide, recolour, cut out, replace the background.

`edit` does several at once; each by itself is a function of operations.py and background.py.
"""

from __future__ import annotations

from humanparse.edit.steps import OPERATIONS, Edited, Step, edit, edited, step

__all__ = ["OPERATIONS", "Edited", "Step", "edit", "edited", "step"]
