"""The command ``pruneline``: each command parses its arguments, asks ``pipeline.api``, and prints."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer

from pipeline import interruption
from pipeline.cli_convert import convert_config
from pipeline.cli_options import Debug, From, Overrides, RecipeArgument, RunsDir, Session, Until
from pipeline.cli_report import report
from pipeline.cli_sweeps import frontier, sweep
from pipeline.outcome import FAILED, explain, is_main_process

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
    from pipeline.runner.twins import tell_of_twin

    tell_of_twin(planned, begins=True)
    finished = api.execute(planned)
    if is_main_process():
        print(Report.from_run(finished).table())


@app.command()
def plan(
    recipe: RecipeArgument,
    from_stage: From = None,
    until: Until = None,
    overrides: Overrides = None,
    values: Annotated[bool, typer.Option(help="Show every resolved value and where it came from.")] = True,
    numbers: Annotated[
        bool, typer.Option("--numbers", help="Load model and data; show parameters, MACs, steps and tokens per stage.")
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="The numbers, and the time of each stage from a few of its steps.")
    ] = False,
    runs_dir: RunsDir = Path("runs"),
    debug: Debug = False,
) -> None:
    """Show every resolved value and where it came from, then what would run and why."""
    from pipeline import api
    from pipeline.reporting.listing import plan_lines, value_lines
    from pipeline.runner.twins import tell_of_twin

    planned = api.plan(recipe, runs_dir=runs_dir, from_stage=from_stage, until=until, overrides=overrides or ())
    if values:
        _print_lines([*value_lines(planned.recipe), ""])
    _print_lines(plan_lines(planned))
    if numbers or estimate:
        from pipeline.forecast.listing import forecast_lines

        _print_lines(["", *forecast_lines(api.forecast(planned, with_time=estimate))])
    tell_of_twin(planned, begins=False)


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
app.command()(report)
app.command("convert-config")(convert_config)


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
    status, message = 0, ""
    try:
        with interruption.stopping_at_once(), _progress_shown():
            returned = app(given, standalone_mode=False, obj=session, prog_name="pruneline")
            if returned == 128 + signal.SIGINT:  # typer made it of a KeyboardInterrupt
                raise KeyboardInterrupt
        status = returned if isinstance(returned, int) else 0
    except BaseException as error:
        status, message = explain(error, given, shows_traceback=session.shows_traceback)
    if message:
        print(message, file=sys.stderr)
    _flush()
    sys.exit(status)


@contextmanager
def _progress_shown() -> Iterator[None]:
    """Send a line per event of our own loggers to standard error while in the block; other processes stay silent."""
    handler = logging.StreamHandler() if is_main_process() else logging.NullHandler()
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
