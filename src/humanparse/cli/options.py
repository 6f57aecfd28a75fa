"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from humanparse.errors import OptionError
from humanparse.vocabulary import CLASSES, PALETTES

BUILT_IN = "the built-in model"

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCES",
        help='Photos, folders or patterns ("photos/**/*.jpg"); - reads a picture from stdin.',
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Use this model: a name from `humanparse models list`, or a model file.",
        show_default=BUILT_IN,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Run the model with onnxruntime, openvino, or auto, which takes the faster one.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="fp32|bf16",
        help="Compute in this precision. bf16 is faster but rounds; it needs OpenVINO and a "
        "processor that supports it.",
        show_default="fp32",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="cpu|cuda",
        help="Run the model on the processor or on an NVIDIA GPU; cuda needs onnxruntime-gpu.",
        show_default="cpu",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Let the inference engine use N threads.",
        show_default="one for each core",
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="X",
        help="Leave out people and parts with a score below X.",
        show_default="as the model recommends",
    ),
]
ShortSide = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Scale photos for the network so that the shorter side has this length. Smaller is "
        "faster, but small people may be missed.",
        show_default="as the model recommends",
    ),
]
MaxSide = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Scale photos for the network so that the longer side is at most this long.",
        show_default="as the model recommends",
    ),
]
Palette = Annotated[
    str, typer.Option(metavar="|".join(PALETTES), help="Draw the pictures in these colours.")
]
Classes = Annotated[
    str,
    typer.Option(
        metavar="|".join(CLASSES),
        help="Use all classes of the model, or few that are sure: head, upper clothes, arm and "
        "so on.",
    ),
]


MaxMegapixels = Annotated[
    float,
    typer.Option(
        min=0.001,
        metavar="X",
        help="Refuse photos of more than X million pixels, before they are decoded.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def check_classes(classes: str) -> None:
    """Raise OptionError for a word that --classes does not know."""
    if classes not in CLASSES:
        raise OptionError(f"there are no classes {classes!r}; choose one of {', '.join(CLASSES)}")
