"""The log of a run: lines on the terminal, JSON lines, curves as a picture, and TensorBoard.

`log.jsonl` has one object per line: {"step", "stage", "lr", "photos_per_s", "loss", "losses":
{name: value}} for training, {"step", "validation": {name: value}} for measurements, {"step",
"note"} for anything else. Values that are not finite are null. When a run continues from a
checkpoint, what was written after that checkpoint is removed, so that no step appears twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from humanparse.system.files import whole_file
from humanparse.training.curves import draw_curves

LOG, CURVES, BOARD = "log.jsonl", "curves.png", "tensorboard"


class Board(Protocol):
    """What is used of TensorBoard's writer."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Record a value."""

    def close(self) -> None:
        """Write what is left and close the file."""


class TrainingLog:
    """Writes the log of a run; use it as a context manager.

    Args:
        folder: Where log.jsonl, curves.png and, if TensorBoard is installed, tensorboard/ are
            written.
        done: The step after which the run continues; 0 for a new run.
        log: Called with each line for the terminal.
    """

    def __init__(self, folder: Path, done: int, log: Callable[[str], None]):
        self.folder, self.log = folder, log
        self.entries = (
            [entry for entry in read_log(folder / LOG) if entry.get("step", 0) <= done]
            if done
            else []
        )
        with whole_file(folder / LOG) as part:
            part.write_text("".join(map(_line, self.entries)), encoding="utf-8")
        self.file = (folder / LOG).open("a", encoding="utf-8")
        self.board = _board(folder / BOARD, done)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.board:
            self.board.close()

    def trained(self, step: int, steps: int, losses: dict[str, float], **more: Any) -> None:
        """Record the mean losses of the last steps.

        Args:
            step: The number of the last step.
            steps: The number of steps of the whole run.
            losses: Means by name.
            **more: Other values for the entry, such as `lr` and `photos_per_s`.
        """
        total = sum(losses.values())
        self._write(
            {
                "step": step,
                **more,
                "loss": round(total, 5),
                "losses": {n: round(v, 5) for n, v in losses.items()},
            }
        )
        values = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.log(
            f"step {step}/{steps}  {more.get('photos_per_s', 0):.1f} photos/s  "
            f"loss {total:.3f}  {values}"
        )
        self._scalars(
            step,
            {"loss": total, "lr": more.get("lr", 0.0)}
            | {f"loss/{n}": value for n, value in losses.items()},
        )

    def validated(self, step: int, figures: dict[str, float], best: bool) -> None:
        """Record what was measured with the averaged weights.

        Args:
            step: The number of the step.
            figures: Figures by name.
            best: Whether they are the best so far.
        """
        self._write(
            {
                "step": step,
                "validation": {name: round(value, 5) for name, value in figures.items()},
                "best": best,
            }
        )
        values = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self.log(f"step {step}  held out: {values}{'  (best so far)' if best else ''}")
        self._scalars(step, {f"held-out/{name}": value for name, value in figures.items()})

    def note(self, step: int, text: str) -> None:
        """Record a line of text."""
        self._write({"step": step, "note": text})
        self.log(text)

    def draw(self) -> None:
        """Draw the curves again."""
        picture = draw_curves(self.entries)
        with whole_file(self.folder / CURVES) as part:
            picture.save(part, format="PNG")

    def _write(self, entry: dict[str, Any]) -> None:
        entry = _plain(entry)
        self.entries.append(entry)
        self.file.write(_line(entry))
        self.file.flush()

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(_plain(entry), allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """The value with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a log, except a line that was cut short when the process was killed.

    Args:
        path: The file; if it does not exist, there are no entries.
    """
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def _board(folder: Path, done: int) -> Board | None:
    """TensorBoard's writer, or None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=done + 1)
