"""`humanparse doctor`: look at everything that humanparse stands on, and say what to do about each
problem."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from humanparse.cli import errors

if TYPE_CHECKING:
    from humanparse.doctor import Finding


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON, for programs.")
    ] = False,
) -> None:
    """Check the installation, and say what to do about each problem.

    Looks at Python, packages, processor, engines and models, and parses one tiny picture with every
    engine. Needs no network. The exit code is 1 if there is a problem.

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
    """The findings, and the seam where tests put theirs."""
    from humanparse.doctor import examine

    return examine()


def show(findings: list[Finding], problems: int) -> None:
    """Print a line for each finding, with what to do below it, and a last line that sums up."""
    for finding in findings:
        typer.echo(
            errors.printable(f"{finding.state:8} {finding.topic} {finding.name}: {finding.what}")
        )
        if finding.todo:
            typer.echo(errors.printable(f"         → {finding.todo}"))
    count = (
        "1 problem; the line below it says"
        if problems == 1
        else f"{problems} problems; the lines below them say"
    )
    typer.echo(f"\n{count} what to do" if problems else "\nno problems: humanparse is ready")
