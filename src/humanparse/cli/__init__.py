"""The command line: `humanparse parse`, `serve`, `eval` and others, with one file for each command.

The exit codes are listed in `humanparse.cli.errors`. Heavy imports (NumPy, OpenCV, the inference
engine) happen inside the commands, so that `humanparse --help` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from humanparse.cli import (
    batch,
    bench,
    convert,
    demo,
    doctor,
    edit,
    errors,
    evaluate,
    export,
    graph,
    interrupts,
    labels,
    models,
    parse,
    serve,
    train,
    version,
    video,
)
from humanparse.system import streams

START_WITH = """\b
Start with:
  humanparse demo
  humanparse parse street.jpg
  humanparse parse photos/ -o results/
"""

app = typer.Typer(
    name="humanparse",
    help="Find the people in photos, and the body parts and garments of each, pixel by pixel.",
    epilog=START_WITH,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # rich would take brackets in file names for markup
    pretty_exceptions_enable=False,  # errors.py prints every error
)


@app.callback(invoke_without_command=True)
def humanparse(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the versions and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of every error.")
    ] = False,
) -> None:
    """Handle the options that stand before the command."""
    errors.show_tracebacks(debug)
    if show_version:
        version.version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command("parse", epilog=errors.EXIT_CODES_HELP)(errors.one_line(parse.parse))
app.command("edit", epilog=errors.EXIT_CODES_HELP)(errors.one_line(edit.edit))
app.command("video", epilog=video.EXIT_CODES_HELP)(errors.one_line(video.video))
app.command("graph", epilog=errors.EXIT_CODES_HELP)(errors.one_line(graph.graph))
app.command("batch", epilog=batch.EXIT_CODES_HELP)(errors.one_line(batch.batch))
app.command("demo")(errors.one_line(demo.demo))
app.command("labels")(errors.one_line(labels.labels))
app.command("serve")(errors.one_line(serve.serve))
app.command("convert")(errors.one_line(convert.convert))
app.command("export")(errors.one_line(export.export))
app.add_typer(models.app, name="models")
app.command("eval")(errors.one_line(evaluate.evaluate))
app.command("train")(errors.one_line(train.train))
app.command("bench")(errors.one_line(bench.bench))
app.command("doctor")(errors.one_line(doctor.doctor))
app.command("version")(errors.one_line(version.version))


def main() -> None:
    """Run the command line; this is the entry point `humanparse`."""
    streams.prepare()
    interrupts.listen()
    # patterns are expanded here, where their sub-folders are kept apart
    app(prog_name="humanparse", windows_expand_args=False)
