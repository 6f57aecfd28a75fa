"""The one place where an error becomes a line on stderr and an exit code.

0    everything went well (a photo without people is an ordinary result)
1    some photos failed; the others have been parsed
2    wrong usage: an unknown option, format or label set, no such file, nothing to parse
3    the model cannot be loaded
70   an unexpected error; `humanparse --debug ...` shows where it happened
130  interrupted by Ctrl-C or SIGTERM (cli/interrupts.py)
141  the program that read stdout has ended, as in `humanparse parse photos/ | head -1`
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from humanparse.errors import HumanParseError, MissingExtra, ModelError, OptionError

SOME_FAILED, BAD_USAGE, NO_MODEL, UNFORESEEN, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 70, 130, 141
EXIT_CODES_HELP = """\b
Exit codes:
  0    all photos are done, or were skipped
  1    some photos failed; the others are done
  2    wrong usage: an unknown format, no such file, nothing to parse
  3    the model cannot be loaded, or a package is missing
  70   an unexpected error; `humanparse --debug COMMAND` shows where
  130  interrupted by Ctrl-C or SIGTERM
  141  the program that read the output has ended
"""
_P = ParamSpec("_P")
_R = TypeVar("_R")

_tracebacks = False


def show_tracebacks(wanted: bool) -> None:
    """Say whether `report` adds the traceback (`humanparse --debug`)."""
    global _tracebacks
    _tracebacks = wanted


def one_line(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Wrap a command so that its errors become one line on stderr and an exit code."""

    @functools.wraps(command)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            _forget_stdout()
            raise typer.Exit(PIPE_CLOSED) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            report("humanparse", error)
            raise typer.Exit(exit_code(error)) from None

    return guarded


def exit_code(error: Exception) -> int:
    """Return the exit code for an error that ends the whole run."""
    if isinstance(error, OptionError):
        return BAD_USAGE
    if isinstance(error, ModelError | MissingExtra):
        return NO_MODEL
    return SOME_FAILED if isinstance(error, HumanParseError) else UNFORESEEN


def report(name: str, error: Exception, say: Callable[[str], None] | None = None) -> None:
    """Print `name: what is wrong` as one line on stderr, below the traceback if it is wanted.

    Args:
        name: The photo or program with which something is wrong.
        error: What is wrong.
        say: Prints the line; by default it goes straight to stderr.
    """
    if _tracebacks:
        traceback.print_exception(error)
    # the line begins with the name already
    what = reason(error).removeprefix(f"{os.path.basename(name)} ").removeprefix("image ")
    line = printable(f"{name}: {what}")
    if say:
        say(line)
    else:
        typer.echo(line, err=True)


def reason(error: Exception) -> str:
    """Return in words what is wrong."""
    if isinstance(error, HumanParseError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"unexpected {what}; `humanparse --debug` shows where it happened"


def printable(text: object) -> str:
    """Return one line that any terminal can show.

    Control characters, and bytes of file names that cannot be decoded, are escaped.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def _forget_stdout() -> None:
    """Discard the rest of the output, or Python would complain once more when it ends."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
