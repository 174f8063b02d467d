"""Arguments and options that several commands take, and what ``--debug`` sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import typer


@dataclass
class Session:
    """What one call of the command asked for on top of its work."""

    shows_traceback: bool = False


def _debug(context: typer.Context, value: bool) -> None:
    if value and isinstance(context.obj, Session):
        context.obj.shows_traceback = True


RecipeArgument = Annotated[str, typer.Argument(help="A recipe file, or a shipped recipe's name.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Where run folders are.")]
From = Annotated[Optional[str], typer.Option("--from", metavar="STAGE", help="Redo this stage and those after it.")]  # noqa: UP045
Until = Annotated[Optional[str], typer.Option("--until", metavar="STAGE", help="Stop after this stage.")]  # noqa: UP045
Overrides = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="PATH=VALUE", help="Change a value, as stages.prune_heads.sparsity=0.5; repeatable."),
]
Debug = Annotated[bool, typer.Option("--debug", callback=_debug, help="Show the traceback of an error.")]
