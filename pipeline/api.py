"""What can be asked of pruneline from Python; the one place that joins the machine with the algorithms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.layout import RECIPE
from pipeline.artifacts.run import Artifact, Run
from pipeline.errors import RecipeError
from pipeline.recipe import Recipe, load_recipe
from pipeline.reporting.measurement import Measurement, find_target, measure
from pipeline.runner import Plan, RunStatus, build_plan, describe_run, describe_runs, execute
from stages import PRUNERS, STAGES

if TYPE_CHECKING:
    from pipeline.convert import Conversion
    from pipeline.forecast.forecasting import StageForecast
    from pipeline.sweeps.frontier import Frontier
    from pipeline.sweeps.running import Sweep
    from stages.own_loop import MovementPruner, TaylorPruner
    from stages.sparsify import Sparsifier

__all__ = [
    "STAGES",
    "MovementPruner",
    "Sparsifier",
    "TaylorPruner",
    "convert_config",
    "evaluate",
    "execute",
    "forecast",
    "frontier",
    "plan",
    "read",
    "register_models",
    "report",
    "run",
    "status",
    "sweep",
]

RecipeLike = str | Path | Mapping[str, Any] | Recipe


def __getattr__(name: str) -> Any:
    """Import a pruner, and torch with it, when it is first asked for."""
    if name not in PRUNERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, pruner = PRUNERS[name].partition(":")
    return getattr(import_module(module), pruner)


def read(recipe: RecipeLike, *, overrides: Sequence[str] = (), stages: Mapping[str, Any] = STAGES) -> Recipe:
    """Return a recipe from a file, a shipped name, a mapping or a recipe, ``overrides`` being as for ``--set``."""
    if isinstance(recipe, Recipe):
        return load_recipe(recipe.document(), stages=stages, overrides=overrides) if overrides else recipe
    return load_recipe(recipe, stages=stages, overrides=overrides)


def plan(
    recipe: RecipeLike,
    *,
    runs_dir: Path | str = "runs",
    from_stage: str | None = None,
    until: str | None = None,
    overrides: Sequence[str] = (),
    stages: Mapping[str, Any] = STAGES,
) -> Plan:
    """Return what would run, and why; nothing is written."""
    resolved = read(recipe, overrides=overrides, stages=stages)
    return build_plan(resolved, Path(runs_dir) / resolved.name, stages, from_stage, until)


def run(
    recipe: RecipeLike,
    *,
    runs_dir: Path | str = "runs",
    from_stage: str | None = None,
    until: str | None = None,
    overrides: Sequence[str] = (),
    stages: Mapping[str, Any] = STAGES,
) -> Run:
    """Bring every stage up to date, up to ``until``, and return the run; what is fresh is skipped.

    ``from_stage`` and all after it are redone, on the artifacts before it. ``stages`` names the algorithms a recipe
    may use: add to ``pipeline.api.STAGES`` for your own.
    """
    return execute(
        plan(recipe, runs_dir=runs_dir, from_stage=from_stage, until=until, overrides=overrides, stages=stages)
    )


def status(
    run: Path | str | None = None,
    *,
    runs_dir: Path | str = "runs",
    verify: bool = False,
    stages: Mapping[str, Any] = STAGES,
) -> list[RunStatus]:
    """Return the status of one run (a path, or a name below ``runs_dir``) or of all; ``verify`` reads every byte."""
    if run is None:
        return describe_runs(runs_dir, stages, verify=verify)
    for path in (Path(run), Path(runs_dir) / run):
        if (path / RECIPE).is_file() or Run(path).artifacts():
            return [describe_run(path, stages, verify=verify)]
    known = ", ".join(found.name for found in describe_runs(runs_dir, stages)) or "none"
    raise RecipeError(f"{run}: no such run; there are in {runs_dir}: {known}")


def report(run: Path | str | Run, *, runs_dir: Path | str = "runs") -> list[Path]:
    """Write a run's report as a page, as Markdown and as JSON into its folder, and return where they are."""
    from pipeline.reporting.page import PAGE, write_page
    from pipeline.reporting.report import write_report

    target = find_target(run, runs_dir).run
    if target is None:
        raise RecipeError(f"{run}: no such run in {runs_dir}; `pruneline status` lists those there are")
    write_page(target, write_report(target))
    return [target.path / name for name in (PAGE, "report.md", "report.json")]


def evaluate(
    run_or_model: str | Path | Run | Artifact,
    recipe: RecipeLike | None = None,
    *,
    runs_dir: Path | str = "runs",
    overrides: Sequence[str] = (),
    stages: Mapping[str, Any] = STAGES,
) -> Measurement:
    """Return the metrics, parameters, MACs and latency of a run's last stage, of ``RUN/STAGE``, or of a model.

    The task is the recipe's; for a run, its own recipe's by default.
    """
    target = find_target(run_or_model, runs_dir)
    if recipe is None and target.run is None:
        raise RecipeError(
            f"--recipe: must be given for a model that is in no run, for its task, got {run_or_model}, "
            f"which is no run in {runs_dir} either"
        )
    source: RecipeLike = recipe if recipe is not None else _own_recipe(target.run)
    return measure(target, read(source, overrides=overrides, stages=stages), runs_dir=runs_dir, stages=stages)


def sweep(
    recipe: RecipeLike,
    vary: Sequence[str] | Mapping[str, Sequence[Any]],
    *,
    folder: Path | str | None = None,
    runs_dir: Path | str = "runs",
    overrides: Sequence[str] = (),
    stages: Mapping[str, Any] = STAGES,
) -> Sweep:
    """Run every combination of the values in ``vary`` and return what became of each; what is there is skipped.

    ``vary`` is ``{"stages.prune_heads.sparsity": [0.25, 0.5]}``, or texts as for ``--vary``. The runs are folders of
    ``folder``, by default ``NAME-sweep`` below ``runs_dir``; a stage that another run there has made is linked, and
    runs of other values stay beside the new ones.
    """
    from pipeline.sweeps.combinations import combine, read_axes
    from pipeline.sweeps.notes import read_values
    from pipeline.sweeps.running import run_sweep

    resolved = read(recipe, overrides=overrides, stages=stages)
    place = Path(runs_dir) / f"{resolved.name}-sweep" if folder is None else Path(folder)

    source = recipe.document() if isinstance(recipe, Recipe) else recipe

    def read_with(varied: Sequence[str]) -> Recipe:
        return load_recipe(source, stages=stages, overrides=overrides, varied=varied)

    return run_sweep(place, combine(read_axes(vary), read_values(place)), read_with, stages)


def forecast(planned: Plan, *, with_time: bool = False) -> list[StageForecast]:
    """Return what the first model costs and each stage will: parameters, MACs, steps, tokens; all is loaded for it.

    ``with_time`` adds seconds, from a few steps of every stage that are timed now.
    """
    from pipeline.forecast.forecasting import forecast as forecast_of
    from stages.forecasts import FORECASTS, TOUCHED

    return forecast_of(planned, FORECASTS, with_time=with_time, touched=TOUCHED)


def frontier(
    folder: Path | str, *, batch_size: int = 1, rounds: int = 30, stages: Mapping[str, Any] = STAGES
) -> Frontier:
    """Return the trade-off of the finished runs below ``folder``, all their models timed anew and together."""
    from pipeline.sweeps.measuring import measure_frontier

    return measure_frontier(Path(folder), stages, batch_size=batch_size, rounds=rounds)


def convert_config(
    path: Path | str,
    *,
    output: Path | str | None = None,
    like: RecipeLike | None = None,
    steps_per_epoch: int | None = None,
    stages: Mapping[str, Any] = STAGES,
) -> Conversion:
    """Return the recipe that an older tool's pruning file amounts to, and write it to ``output``, a new file.

    Model, task and training are those of the recipe ``like``; without one they are left to be filled in. Raises
    ``RecipeError`` that names every key without a counterpart.
    """
    from pipeline.convert import convert

    if output is not None and Path(output).exists():
        raise RecipeError(f"{output}: exists already; must be a new file")
    given = None if like is None else read(like, stages=stages).document()
    converted = convert(Path(path), stages=stages, like=given, steps_per_epoch=steps_per_epoch)
    if output is not None:
        try:
            Path(output).write_text(converted.text, "utf-8")
        except OSError as error:
            raise RecipeError(f"{output}: cannot be written ({error.strerror}); must be a new file") from error
    return converted


def register_models() -> None:
    """Teach transformers' Auto classes the condensed classes, so that condensed folders load without a flag."""
    from pipeline.models import register_models as register

    register()


def _own_recipe(run: Run | None) -> Path:
    assert run is not None, "a target without a run needs a recipe"
    return run.path / RECIPE
