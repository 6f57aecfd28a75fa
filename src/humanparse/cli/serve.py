"""`humanparse serve`: the HTTP service. Each row of service/settings.py is one of its options."""

from __future__ import annotations

import inspect
from dataclasses import Field, fields
from typing import Annotated, Any, get_type_hints

import typer

from humanparse.service.settings import PREFIX, Settings

KINDS = {tuple[str, ...]: str}  # the type of the option for a setting of another type
METAVARS = {str: "TEXT", int: "N", float: "X"}
TYPES = get_type_hints(Settings)  # once: it evaluates the types of all settings
SHORT = {"models": ("--model", "-m"), "ray_address": ("--address",)}


def serve(**given: Any) -> None:
    """Start the HTTP service and its page.

    By default it listens on http://127.0.0.1:7860 with the built-in model, and says so when it is
    ready. Every option can also be set by the environment variable that is named with it. SIGTERM
    or Ctrl-C ends the service after the requests in progress have been answered; SIGHUP reloads the
    models.

    \b
    Examples:
      humanparse serve
      humanparse serve --port 8000 --workers 4
      HUMANPARSE_TOKEN=secret humanparse serve --host 0.0.0.0
      humanparse serve --ray --address head.example:6379 --workers 16
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen:
        if TYPES[name] == tuple[str, ...]:
            chosen[name] = tuple(part.strip() for part in chosen[name].split(",") if part.strip())
    settings = Settings.from_env(**chosen)
    if settings.ray:
        from humanparse.ray.server import serve as run
    else:
        from humanparse.service.start import serve as run
    raise typer.Exit(run(settings))


def _flag(setting: Field) -> inspect.Parameter:
    """Return the option of one setting; None means that the environment or the default decides."""
    kind = TYPES[setting.name]
    rules, name = setting.metadata, setting.name.replace("_", "-")
    option = typer.Option(
        f"--{name}",
        *SHORT.get(setting.name, ()),
        help=f"{rules['help']} [{_shown(setting)}{PREFIX}{setting.name.upper()}]",
        show_default=False,
        metavar=None if kind is bool else METAVARS.get(KINDS.get(kind, kind)),
    )
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[KINDS.get(kind, kind) | None, option],
    )


def _shown(setting: Field) -> str:
    """Return the default with its unit as the help shows it; "" if it is empty."""
    value, unit = setting.default, setting.metadata["unit"]
    if isinstance(value, bool | str | tuple) and not value:
        return ""
    text = (
        ",".join(value)
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
    return f"{text} {unit}".rstrip() + "; "


SIGNATURE = inspect.Signature([_flag(setting) for setting in fields(Settings)])
# inspect.signature() reads this attribute, which the types of functions do not have
serve.__signature__ = SIGNATURE  # type: ignore[attr-defined]
serve.__annotations__ = {
    name: parameter.annotation for name, parameter in SIGNATURE.parameters.items()
}
