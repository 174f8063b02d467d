"""The commands over many runs: each parses its arguments, asks ``pipeline.api``, and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from pipeline.cli_options import Debug, Overrides, RecipeArgument, RunsDir

Vary = Annotated[
    list[str],
    typer.Option("--vary", metavar="PATH=VALUE,…", help="A field and its values, as seed=1,2,3; repeatable."),
]
Folder = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--folder", help="Where the sweep's runs go; default: NAME-sweep among the run folders."),
]
FrontierFolder = Annotated[Path, typer.Argument(help="A folder of runs, such as a sweep's.")]


def sweep(
    recipe: RecipeArgument,
    vary: Vary,
    folder: Folder = None,
    overrides: Overrides = None,
    runs_dir: RunsDir = Path("runs"),
    debug: Debug = False,
) -> None:
    """Run every combination of the values of --vary, what runs share only once; exit 1 if one failed."""
    from pipeline import api
    from pipeline.sweeps.summary import sweep_lines

    done = api.sweep(recipe, vary, folder=folder, runs_dir=runs_dir, overrides=overrides or ())
    typer.echo("\n".join(sweep_lines(done)))
    if done.failed:
        raise typer.Exit(1)


def frontier(
    folder: FrontierFolder,
    max_latency_ms: Annotated[Optional[float], typer.Option(help="The model to ship takes at most this.")] = None,  # noqa: UP045
    min_accuracy: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="The model to ship scores at least this in the recipe's first metric, as 0.95."),
    ] = None,
    max_drop: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="The model to ship scores at most this below its run's dense model, as 0.01."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per forward pass when models are timed.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Forward passes of each model, at least.")] = 30,
    debug: Debug = False,
) -> None:
    """Weigh the runs of a folder against each other: table, figure, optimal points, the model to ship."""
    from pipeline import api
    from pipeline.sweeps.files import write_frontier
    from pipeline.sweeps.frontier import Limits

    limits = Limits(max_latency_ms, min_accuracy, max_drop)
    found = api.frontier(folder, batch_size=batch_size, rounds=rounds)
    typer.echo(found.table())
    chosen = found.choose(limits) if limits.is_set else None
    if chosen is not None:
        typer.echo(f"within {limits}: {found.describe(chosen)}")
    typer.echo(f"written: {', '.join(map(str, write_frontier(found, folder, chosen)))}")
