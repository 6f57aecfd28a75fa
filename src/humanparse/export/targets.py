"""The export targets: one row for each, with the function that writes it and what it accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from humanparse.export.graph import Written
from humanparse.export.openvino import write_openvino
from humanparse.export.single_graph.whole import write_single_graph
from humanparse.export.tensorrt import PHOTO_HW, write_tensorrt
from humanparse.export.triton import write_triton
from humanparse.export.web import write_web


@dataclass(frozen=True)
class ExportRequest:
    """What is to be exported, and how.

    Attributes:
        model: The .onnx file of the model.
        out: The file or folder to write.
        photos: Photos on which the result is compared with the model.
        photo_hw: Height and width in pixels of the photos that an export of one size is made for.
        fp16: Whether to store the weights in half the space.
        runtime: The archive of what runs the model in browsers; None to fetch it.
    """

    model: Path
    out: Path
    photos: tuple[Path, ...] = ()
    photo_hw: tuple[int, int] = PHOTO_HW
    fp16: bool = False
    runtime: Path | None = None


@dataclass(frozen=True)
class Target:
    """One way of exporting a model.

    Attributes:
        write: Writes the export and says what it has written.
        suffixes: Endings of the files that are written, that of `out` first; empty for a folder.
        compares_photos: Whether the result is compared with the model on photos.
        fixes_photo_size: Whether it takes the size of the photos.
        halves_weights: Whether it can store the weights in fp16.
        takes_runtime: Whether it needs the archive of what runs the model in browsers.
        default_model: The name of the model that is exported when none is named; None for that of
            the package.
    """

    write: Callable[[ExportRequest], Written]
    suffixes: tuple[str, ...] = ()
    compares_photos: bool = True
    fixes_photo_size: bool = False
    halves_weights: bool = False
    takes_runtime: bool = False
    default_model: str | None = None

    def files(self, out: Path) -> tuple[Path, ...]:
        """Return the files that an export to `out` may replace; none if it writes a folder."""
        return tuple(
            out.with_suffix(suffix) if number else out
            for number, suffix in enumerate(self.suffixes)
        )


# In the order of `vocabulary.EXPORT_TARGETS`.
TARGETS = {
    "triton": Target(
        lambda wanted: write_triton(wanted.model, wanted.out),
        compares_photos=False,
    ),
    "tensorrt": Target(
        lambda wanted: write_tensorrt(
            wanted.model, wanted.out, wanted.photos, photo_hw=wanted.photo_hw
        ),
        fixes_photo_size=True,
    ),
    "openvino": Target(
        lambda wanted: write_openvino(wanted.model, wanted.out, wanted.photos, fp16=wanted.fp16),
        suffixes=(".xml", ".bin"),
        halves_weights=True,
    ),
    "onnx": Target(
        lambda wanted: write_single_graph(wanted.model, wanted.out, wanted.photos),
        suffixes=(".onnx",),
    ),
    "web": Target(
        lambda wanted: write_web(wanted.model, wanted.out, wanted.runtime),
        compares_photos=False,
        takes_runtime=True,
        default_model="humanparse-int8",
    ),
}
