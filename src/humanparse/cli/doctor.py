"""`humanparse doctor`: check the installation, and say how to solve each problem."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from humanparse.cli import errors

if TYPE_CHECKING:
    from humanparse.doctor import Finding


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check the installation, and say how to solve each problem.

    Python, the packages, the processor, the engines and the models are checked, and every engine
    parses a tiny picture. No network is needed. The exit code is 1 if there is a problem.

    \b
    Examples:
      humanparse doctor
      humanparse doctor --json
    """
    from humanparse.doctor import PROBLEM

    findings = examine()
    problems = sum(finding.state == PROBLEM for finding in findings)
    if as_json:
        typer.echo(
            json.dumps(
                {"ok": not problems, "findings": [asdict(finding) for finding in findings]},
                indent=2,
            )
        )
    else:
        show(findings, problems)
    if problems:
        raise typer.Exit(errors.SOME_FAILED)


def examine() -> list[Finding]:
    """Return the findings; tests put their own in its place."""
    from humanparse.doctor import examine

    return examine()


def show(findings: list[Finding], problems: int) -> None:
    """Print a line for each finding, with what to do about it below, and a summary."""
    for finding in findings:
        typer.echo(
            errors.printable(f"{finding.state:8} {finding.topic} {finding.name}: {finding.what}")
        )
        if finding.todo:
            typer.echo(errors.printable(f"         → {finding.todo}"))
    if problems == 1:
        typer.echo("\n1 problem; the line below it says what to do")
    elif problems:
        typer.echo(f"\n{problems} problems; the lines below them say what to do")
    else:
        typer.echo("\nno problems: humanparse is ready")
