"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from humanparse.vocabulary import CLASSES, PALETTES

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Name of a model, or a model file.",
        show_default="the built-in one",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What runs the model: onnxruntime, openvino, or auto for the faster one.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="fp32|bf16",
        help="Of the arithmetic; bf16 is faster and rounds. It needs OpenVINO and a processor that has it.",
        show_default="fp32",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="cpu|cuda",
        help="Where the model runs; cuda, an NVIDIA GPU, needs onnxruntime-gpu.",
        show_default="cpu",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Threads of the inference engine.",
        show_default="as the processor has cores",
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="X",
        help="Leave out what scores below X, 0 to 1.",
        show_default="the model's",
    ),
]
ShortSide = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Short side of the network's input: smaller is faster and sees less.",
        show_default="the model's",
    ),
]
MaxSide = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Longest side of the network's input.",
        show_default="the model's",
    ),
]
Palette = Annotated[str, typer.Option(metavar="|".join(PALETTES), help="Colours of the pictures.")]
Classes = Annotated[
    str,
    typer.Option(
        metavar="|".join(CLASSES),
        help="All classes of the model, or few and sure ones: head, upper clothes, arm and so on.",
    ),
]
MaxMegapixels = Annotated[
    float,
    typer.Option(min=0.001, metavar="X", help="Refuse larger photos before they are decoded."),
]
