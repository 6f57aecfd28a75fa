"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from humanparse.errors import OptionError
from humanparse.vocabulary import CLASSES, MAX_STRENGTH, MIN_STRENGTH, PALETTES, RUN_ON

BUILT_IN = "the built-in model"
Regions = list[str] | None

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
        metavar="NAME",
        help=f"Run the model on the processor or elsewhere: {', '.join(RUN_ON)}.",
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

# Edits: `humanparse edit` and `humanparse video`

Blur = Annotated[
    Regions,
    typer.Option(metavar="REGION", help="Blur a region, such as face, beyond recognition."),
]
Pixelate = Annotated[Regions, typer.Option(metavar="REGION", help="Show a region in large blocks.")]
Fill = Annotated[
    Regions, typer.Option(metavar="REGION=COLOUR", help="Fill a region with one colour.")
]
Recolour = Annotated[
    Regions,
    typer.Option(
        metavar="REGION=COLOUR",
        help="Give a region another colour, and keep its light and shade.",
    ),
]
Background = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="Replace what is behind the people: with blur (the photo, blurred), a colour, or "
        "the file of a picture.",
    ),
]
Cutout = Annotated[
    Regions,
    typer.Option(metavar="REGION", help="Keep a region, and make everything else transparent."),
]
Strength = Annotated[
    float,
    typer.Option(
        min=MIN_STRENGTH,
        max=MAX_STRENGTH,
        metavar="X",
        help="Blur and pixelate with this strength; 2 hides more than 1.",
    ),
]


def check_classes(classes: str) -> None:
    """Raise OptionError for a word that --classes does not know."""
    if classes not in CLASSES:
        raise OptionError(f"there are no classes {classes!r}; choose one of {', '.join(CLASSES)}")
