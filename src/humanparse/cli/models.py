"""`humanparse models`: the models on this machine, and those that can be downloaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from humanparse.cli import errors
from humanparse.cli.options import Quiet
from humanparse.errors import OptionError, UnknownModel
from humanparse.export import fetch
from humanparse.extras import install_line

if TYPE_CHECKING:
    from humanparse.card import ModelCard
    from humanparse.weights.hub import HubModel

app = typer.Typer(
    help="List, download, check and remove models.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    epilog="\b\nStart with:\n  humanparse models list\n  humanparse models pull m2fp-r101-cihp",
)
Name = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="The name of a model, a model file, or the folder of a model file."
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODELS",
        help="The names of models, model files, or folders of model files.",
        show_default="all models on this machine",
    ),
]


def list_models() -> None:
    """List the models with their licences, and say which are on this machine.

    \b
    Example:
      humanparse models list
    """
    from rich.console import Console
    from rich.table import Table

    from humanparse.weights import store
    from humanparse.weights.catalog import bundled_models
    from humanparse.weights.hub import HUB

    table = Table("model", "people", "classes", "licence", "size", "where", box=None)
    for name, file in bundled_models().items():
        card = _card(file)
        table.add_row(
            name,
            "any number",
            str(len(card.labels)),
            card.license,
            _mb(file.stat().st_size),
            "in the package",
        )
    for model in HUB.values():
        here = store.size(model)
        table.add_row(
            model.name,
            model.people,
            model.classes,
            model.license,
            _mb(here) if here else "",
            _state(model),
        )
    Console(soft_wrap=True, markup=False, highlight=False).print(table)
    typer.echo("\nDownload a model, or finish a download:  humanparse models pull NAME")
    from humanparse.system.home import home_if_any

    kept = home_if_any()
    where = (
        f"in {errors.printable(kept / 'models')}"
        if kept
        else "nowhere yet; set HUMANPARSE_HOME to a folder"
    )
    typer.echo(f"Downloaded models are kept {where}.")


def pull(
    name: Name,
    accept_licence: Annotated[
        bool,
        typer.Option(
            "--accept-licence",
            envvar="HUMANPARSE_ACCEPT_LICENCE",
            help="Accept the licence of the model without being asked.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Download a model, convert it and print its path.

    An interrupted download continues where it stopped. Only the conversion needs PyTorch. If you
    have the files already, give the folder with pytorch_model.pt and configuration.json: the model
    is then converted in that folder.

    \b
    Examples:
      humanparse models pull m2fp-r101-cihp
      humanparse models pull ./folder-with-a-checkpoint
    """
    from humanparse.weights import store

    say = (
        (lambda text: None)
        if quiet
        else (lambda text: typer.echo(errors.printable(text), err=True))
    )
    model = _hub(name)
    if model is None:
        file = _convert_folder(Path(name), say) if _is_checkpoint_folder(name) else _file(name)
    elif converted := store.converted(model):
        file = converted
    else:
        if not store.checkpoint(model):
            accept_licence = _accept(model, accept_licence, quiet)
            if not fetch.can_convert():
                say(
                    "PyTorch is not installed; the conversion after the download needs it: "
                    f"{install_line('torch')}"
                )
        with _progress(quiet) as show:
            store.pull(model, accept_licence=accept_licence, progress=show, say=say)
        file = fetch.convert_pulled(model, say)
    typer.echo(errors.printable(file))


def verify(names: Names = None) -> None:
    """Check the files of models for damage.

    The files are compared with their sizes and hashes at the time of the download. No network is
    needed. The exit code is 1 if a file is damaged or missing.

    \b
    Examples:
      humanparse models verify
      humanparse models verify m2fp-r101-cihp
    """
    from humanparse.weights import store
    from humanparse.weights.catalog import bundled_models
    from humanparse.weights.hub import HUB

    bad = False
    for name in names or [
        *bundled_models(),
        *(model.name for model in HUB.values() if store.record(model)),
    ]:
        model = _hub(name)
        if model is None:
            file = _file(name)
            _card(file)  # raises BrokenModel
            typer.echo(f"opens    {errors.printable(file)}")
            continue
        checks = store.verify(model)
        if not checks:
            raise UnknownModel(f"{name} is not on this machine: humanparse models pull {name}")
        for check in checks:
            typer.echo(f"{check.state:8} {errors.printable(check.path)}")
        if any(check.state != "intact" for check in checks):
            typer.echo(
                f"download it again: "
                f"humanparse models remove {name} && humanparse models pull {name}",
                err=True,
            )
            bad = True
    if bad:
        raise typer.Exit(errors.SOME_FAILED)


def remove(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="The name of a downloaded model.")],
) -> None:
    """Delete a downloaded model, and what is left of its interrupted downloads.

    \b
    Example:
      humanparse models remove m2fp-r101-cihp
    """
    from humanparse.weights import store

    model = _hub(name)
    if model is None:
        file = _file(name)
        raise OptionError(
            f"{name!r} was not downloaded by humanparse; "
            f"if nobody needs it any more, delete {file} yourself"
        )
    freed = store.remove(model, say=lambda text: typer.echo(text, err=True))
    typer.echo(f"{name} is removed, which frees {_mb(freed)}" if freed else f"{name} was not here")


def path(name: Name) -> None:
    """Print the path of the file of a model.

    \b
    Example:
      humanparse models path humanparse-small
    """
    typer.echo(_file(name))


def ask(question: str) -> bool:
    """Ask the user, and return whether the answer is yes; it is no if nobody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and typer.confirm(question, err=True)


app.command("list")(errors.one_line(list_models))
for command in (pull, verify, remove, path):
    app.command(command.__name__)(errors.one_line(command))


def _hub(name: str) -> HubModel | None:
    """Return the catalogue's entry with this name; None for anything but a downloadable model."""
    from humanparse.weights.hub import HUB

    return HUB.get(name)


def _file(name: str) -> Path:
    from humanparse.weights.catalog import model_file

    return model_file(name)


def _card(file: Path) -> ModelCard:
    """Return the card in a model file, or raise BrokenModel."""
    from humanparse.card import ModelCard
    from humanparse.engines import open_engine

    return ModelCard.from_metadata(open_engine("onnxruntime", file).metadata, str(file))


def _state(model: HubModel) -> str:
    from humanparse.weights import store

    if store.converted(model):
        return "here"
    if store.checkpoint(model):
        return "not converted"
    return "incomplete" if store.size(model) else "not here"


def _accept(model: HubModel, accept: bool, quiet: bool) -> bool:
    """Show the licence before the first download, and ask; raise OptionError if it is refused."""
    from humanparse.weights import store

    if store.accepted(model) or store.offline():  # pull will say that it is offline
        return True
    if not (accept and quiet):
        typer.echo(model.terms, err=True)
    if not accept and not ask("Do you accept this licence?"):
        raise OptionError(
            f"{model.name} is downloaded only if its licence is accepted: "
            "answer yes, or add --accept-licence"
        )
    return True


def _is_checkpoint_folder(name: str) -> bool:
    from humanparse.weights.hub import CHECKPOINT

    folder = Path(name)
    return folder.is_dir() and (folder / CHECKPOINT).is_file() and not list(folder.glob("*.onnx"))


def _convert_folder(folder: Path, say: Callable[[str], None]) -> Path:
    """Convert the checkpoint in a folder of the user; the file is whole or not there at all."""
    import os
    import tempfile

    from humanparse.weights.hub import CHECKPOINT

    target = folder / f"{folder.resolve().name}.onnx"
    say(f"converting {folder / CHECKPOINT}; this takes a minute or two")
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder) as work:
        made = Path(work) / target.name
        fetch.convert(folder / CHECKPOINT, made)
        os.replace(made, target)
    return target


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function (file, bytes so far, bytes in total) that moves a bar on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda name, here, size: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, here: int, size: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=size, completed=here)
            bar.update(tasks[name], completed=here)

        yield show


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
