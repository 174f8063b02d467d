"""The command that writes a run's report: it parses its arguments, asks ``pipeline.api``, and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_options import Debug, RunsDir


def report(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    runs_dir: RunsDir = Path("runs"),
    debug: Debug = False,
) -> None:
    """Write report.html, report.md and report.json into the run's folder: what was cut and what it cost."""
    from pipeline import api

    for path in api.report(run, runs_dir=runs_dir):
        typer.echo(path)
