"""What a run tells: a line a moment on the terminal, all of it as JSON lines, curves as a picture,
and TensorBoard.

`log.jsonl` has one object a line: {"step", "stage", "lr", "photos_per_s", "loss", "losses": {name:
value}} for training, {"step", "validation": {name: value}} for what was measured, {"step", "note"}
for anything else. A value that is no number is null. When a run goes on from a checkpoint, what was
written after it is taken back, so that no step is told twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from humanparse.system.files import whole_file
from humanparse.training.curves import draw_curves

LOG, CURVES, BOARD = "log.jsonl", "curves.png", "tensorboard"


class TrainingLog:
    """folder: where log.jsonl, curves.png and, if TensorBoard is installed, tensorboard/ are. A
    context manager.

    done: the step that the run goes on from. say: called with each line for the terminal.
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

    def __exit__(self, *_) -> None:
        self.file.close()
        if self.board:
            self.board.close()

    def trained(self, step: int, steps: int, losses: dict[str, float], **more: Any) -> None:
        """What the last steps cost, on average."""
        total = sum(losses.values())
        self._write(
            {
                "step": step,
                **more,
                "loss": round(total, 5),
                "losses": {n: round(v, 5) for n, v in losses.items()},
            }
        )
        told = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.log(
            f"step {step}/{steps}  {more.get('photos_per_s', 0):.1f} photos/s  loss {total:.3f}  {told}"
        )
        self._scalars(
            step,
            {"loss": total, "lr": more.get("lr", 0.0)}
            | {f"loss/{n}": value for n, value in losses.items()},
        )

    def validated(self, step: int, figures: dict[str, float], best: bool) -> None:
        """What the averaged weights were measured at."""
        self._write(
            {
                "step": step,
                "validation": {name: round(value, 5) for name, value in figures.items()},
                "best": best,
            }
        )
        told = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self.log(f"step {step}  held out: {told}{'  (best so far)' if best else ''}")
        self._scalars(step, {f"held-out/{name}": value for name, value in figures.items()})

    def note(self, step: int, text: str) -> None:
        self._write({"step": step, "note": text})
        self.log(text)

    def draw(self) -> None:
        """Draw the curves anew."""
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
    """None for NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_log(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a line that a kill cut short is left out."""
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


def _board(folder: Path, done: int):
    """TensorBoard's writer, or None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=done + 1)
