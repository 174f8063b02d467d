"""The command ``pruneline``: each command parses its arguments, asks ``pipeline.api``, and prints."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from pipeline.cli_options import Debug, From, Overrides, RecipeArgument, RunsDir, Session, Until
from pipeline.cli_sweeps import frontier, sweep

BAD_RECIPE, FAILED = 2, 1

app = typer.Typer(
    name="pruneline",
    help="Make a transformer smaller and faster, in stages that can be stopped and resumed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def run(
    recipe: RecipeArgument,
    from_stage: From = None,
    until: Until = None,
    overrides: Overrides = None,
    runs_dir: RunsDir = Path("runs"),
    debug: Debug = False,
) -> None:
    """Run the stages that are not up to date, resuming a half-done one, and print the report."""
    from pipeline import api

    planned = api.plan(recipe, runs_dir=runs_dir, from_stage=from_stage, until=until, overrides=overrides or ())
    from pipeline.reporting.report import Report

    finished = api.execute(planned)
    print(Report.from_run(finished).table())


@app.command()
def plan(
    recipe: RecipeArgument,
    from_stage: From = None,
    until: Until = None,
    overrides: Overrides = None,
    values: Annotated[bool, typer.Option(help="Show every resolved value and where it came from.")] = True,
    runs_dir: RunsDir = Path("runs"),
    debug: Debug = False,
) -> None:
    """Show every resolved value and where it came from, then what would run and why."""
    from pipeline import api
    from pipeline.reporting.listing import plan_lines, value_lines

    planned = api.plan(recipe, runs_dir=runs_dir, from_stage=from_stage, until=until, overrides=overrides or ())
    if values:
        _print_lines([*value_lines(planned.recipe), ""])
    _print_lines(plan_lines(planned))


@app.command()
def status(
    run: Annotated[Optional[str], typer.Argument(help="A run's name or folder; all runs by default.")] = None,  # noqa: UP045
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and compare its digest.")] = False,
    runs_dir: RunsDir = Path("runs"),
    debug: Debug = False,
) -> None:
    """Show runs and the states of their stages; with --verify exit 1 if a file is damaged."""
    from pipeline import api
    from pipeline.reporting.listing import status_lines

    found = api.status(run, runs_dir=runs_dir, verify=verify)
    _print_lines(status_lines(found) if found else [f"no runs in {runs_dir}"])
    if verify and any(stage.state == "damaged" for one in found for stage in one.stages):
        raise typer.Exit(FAILED)


@app.command()
def evaluate(
    run_or_model: Annotated[str, typer.Argument(help="RUN, RUN/STAGE, a model folder or a hub id.")],
    recipe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--recipe", help="Whose task to measure on; default: the run's own recipe."),
    ] = None,
    overrides: Overrides = None,
    runs_dir: RunsDir = Path("runs"),
    debug: Debug = False,
) -> None:
    """Measure any stage or model: metrics, parameters, MACs, latency."""
    from pipeline import api
    from pipeline.reporting.listing import measurement_lines

    measured = api.evaluate(run_or_model, recipe, runs_dir=runs_dir, overrides=overrides or ())
    _print_lines(measurement_lines(measured))


app.command()(sweep)
app.command()(frontier)


@app.command()
def recipes(
    name: Annotated[Optional[str], typer.Argument(help="Print this recipe's YAML, to start your own from.")] = None,  # noqa: UP045
    debug: Debug = False,
) -> None:
    """List the shipped recipes, or print one."""
    from pipeline.recipe.shipped import shipped_recipe, shipped_recipes, summary

    if name is not None:
        print(shipped_recipe(name).read_text("utf-8"), end="")
        return
    found = shipped_recipes()
    width = max(map(len, found))
    _print_lines([f"{recipe:{width}}  {summary(path)}" for recipe, path in found.items()])


@app.command()
def schema(debug: Debug = False) -> None:
    """Print the JSON schema of a recipe, for editors."""
    from pipeline import api
    from pipeline.recipe.schema import recipe_schema

    print(json.dumps(recipe_schema(api.STAGES), indent=2))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 2 a wrong recipe or call, 1 a failed stage, 128 + signal when stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    session = Session()
    try:
        with _progress_shown():
            status = app(given, standalone_mode=False, obj=session, prog_name="pruneline")
        if status == 128 + signal.SIGINT:  # typer made it of a KeyboardInterrupt
            status = _explain(KeyboardInterrupt(), given, session)
    except BaseException as error:
        status = _explain(error, given, session)
    _flush()
    sys.exit(status if isinstance(status, int) else 0)


def _explain(error: BaseException, arguments: Sequence[str], session: Session) -> int:
    """Print on standard error what stopped the command, in one line where it is one thing, and return the status."""
    from pipeline.errors import CompressionError, RecipeError
    from pipeline.interruption import Interrupted

    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, (Interrupted, KeyboardInterrupt, typer.Abort)):
        signum = error.signum if isinstance(error, Interrupted) else int(signal.SIGINT)
        _complain(f"stopped by {signal.Signals(signum).name}; resume with: {_resume_command(arguments)}")
        return 128 + signum
    if isinstance(error, BrokenPipeError):
        return FAILED
    if session.shows_traceback:
        traceback.print_exception(error)
    if hasattr(error, "format_message"):
        _complain(_usage_message(error))
        return BAD_RECIPE
    if isinstance(error, CompressionError):
        _complain(str(error))
        return BAD_RECIPE if isinstance(error, RecipeError) else FAILED
    message = " ".join(str(error).split())
    hint = "" if session.shows_traceback else "; --debug shows the traceback"
    _complain(f"unexpected {type(error).__name__}: {message}{hint}")
    return FAILED


def _usage_message(error: Any) -> str:
    """Return a wrong call in one line; without a command the help itself is the message."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    message = " ".join(error.format_message().split())
    return f"{message} See: {error.ctx.command_path if getattr(error, 'ctx', None) else 'pruneline'} --help"


def _resume_command(arguments: Sequence[str]) -> str:
    """Return the same call without ``--from``: what it asked to be redone is noted in the run."""
    kept: list[str] = []
    skips = False
    for argument in arguments:
        if skips or argument.startswith("--from="):
            skips = False
            continue
        skips = argument == "--from"
        if not skips:
            kept.append(argument)
    return shlex.join(["pruneline", *kept])


@contextmanager
def _progress_shown() -> Iterator[None]:
    """Send a line per event of our own loggers to standard error while in the block."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    loggers = [logging.getLogger(name) for name in ("pipeline", "stages")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagates) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagates


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_lines(lines: Sequence[str]) -> None:
    print("\n".join(lines))


def _complain(message: Any) -> None:
    print(message, file=sys.stderr)
