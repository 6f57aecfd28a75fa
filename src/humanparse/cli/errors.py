"""The one place where an error becomes one line on stderr and an exit code.

  0  everything went well (photos without people are ordinary)
  1  some photos failed; the others are done
  2  bad usage: an unknown option, format or class set, no such file, nothing to parse
  3  the model could not be loaded
 70  an error that nobody foresaw; `humanparse --debug ...` shows where
130  interrupted with Ctrl-C or SIGTERM (cli/interrupts.py)
141  whoever read stdout went away, as in `humanparse parse photos/ | head -1`
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable

import typer

from humanparse.errors import HumanParseError, MissingExtra, ModelError, OptionError

SOME_FAILED, BAD_USAGE, NO_MODEL, UNFORESEEN, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 70, 130, 141
EXIT_CODES_HELP = """\b
Exit codes:
  0    all photos are parsed (or skipped)
  1    some photos failed; the others are done
  2    bad usage: an unknown format, no such file, nothing to parse
  3    the model could not be loaded
  70   an unforeseen error: `humanparse --debug parse ...` shows where
  130  interrupted (Ctrl-C, SIGTERM); --skip-existing continues
  141  whoever read the output went away
"""

_tracebacks = False


def show_tracebacks(wanted: bool) -> None:
    """Whether `report` adds the traceback (`humanparse --debug`)."""
    global _tracebacks
    _tracebacks = wanted


def one_line(command: Callable) -> Callable:
    """A command whose errors end as one line on stderr and an exit code of the list above."""

    @functools.wraps(command)
    def guarded(*args, **kwargs):
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
    """The exit code of an error that ends the whole run."""
    if isinstance(error, OptionError):
        return BAD_USAGE
    if isinstance(error, ModelError | MissingExtra):
        return NO_MODEL
    return SOME_FAILED if isinstance(error, HumanParseError) else UNFORESEEN


def report(name: str, error: Exception, say: Callable[[str], None] | None = None) -> None:
    """Print `name: what is wrong` as one line on stderr, below the traceback if that was asked
    for."""
    if _tracebacks:
        traceback.print_exception(error)
    # the line begins with the name
    what = reason(error).removeprefix(f"{os.path.basename(name)} ").removeprefix("image ")
    line = printable(f"{name}: {what}")
    say(line) if say else typer.echo(line, err=True)


def reason(error: Exception) -> str:
    """What is wrong, in words."""
    if isinstance(error, HumanParseError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"unexpected {what}; `humanparse --debug` shows where"


def printable(text: object) -> str:
    """One line that any terminal can show: control characters and undecodable bytes of file names
    are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def _forget_stdout() -> None:
    """Let the rest of the output go nowhere, or Python would complain once more while it leaves."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
