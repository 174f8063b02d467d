"""The command that makes a recipe of an older tool's file: it parses its arguments, asks ``pipeline.api``, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from pipeline.cli_options import Debug


def convert_config(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A pruning file of Intel Neural Compressor, or NeurST's flags.")
    ],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="Write the recipe to this new file; default: print it."),
    ] = None,
    like: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--like", metavar="RECIPE", help="A recipe whose model, task and training to take."),
    ] = None,
    steps_per_epoch: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--steps-per-epoch", min=1, help="To translate update frequencies that count epochs."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Make a recipe of an older tool's pruning file; a key it has no words for is refused by name."""
    from pipeline import api

    converted = api.convert_config(file, output=output, like=like, steps_per_epoch=steps_per_epoch)
    if output is None:
        typer.echo(converted.text, nl=False)
        return
    for note in converted.notes:
        typer.echo(note, err=True)
    typer.echo(output)
