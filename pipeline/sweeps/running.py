"""Carries out a sweep: a run per combination, one after the other, each taking over what another has made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import interruption
from pipeline.artifacts.layout import RECIPE
from pipeline.artifacts.run import Run
from pipeline.errors import CompressionError, RecipeError
from pipeline.recipe import Recipe
from pipeline.runner import build_plan, execute, processes
from pipeline.runner.inspection import Inspector
from pipeline.sweeps.combinations import Combination
from pipeline.sweeps.notes import note_values
from pipeline.sweeps.points import Points, collect_points
from pipeline.sweeps.sharing import share_commits, share_stages

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one combination: its ``run``, or the ``error`` that stopped it; ``shared`` were linked."""

    combination: Combination
    run: Run | None
    shared: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep, below one folder; ``points`` are the models of the finished ones, None without any."""

    folder: Path
    outcomes: tuple[Outcome, ...]
    points: Points | None = None

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The combinations whose run did not come to its end."""
        return tuple(outcome for outcome in self.outcomes if outcome.error is not None)


def run_sweep(
    folder: Path,
    combinations: Sequence[Combination],
    read: Callable[[Sequence[str]], Recipe],
    stages: Mapping[str, Any],
) -> Sweep:
    """Run every combination below ``folder`` and return what became of each; what is there already is skipped.

    ``read`` returns the recipe with overrides applied: all of them are read first, so that a wrong value is refused
    before anything runs. A run that fails later leaves the others alone. Raises ``Interrupted`` after a signal; the
    same call goes on from there.
    """
    recipes = [read(combination.overrides) for combination in combinations]
    _check_place(folder)
    processes.join()
    if processes.is_main():
        note_values(folder, combinations)
    outcomes: list[Outcome] = []
    with interruption.handling():
        for number, (combination, recipe) in enumerate(zip(combinations, recipes, strict=True), start=1):
            interruption.check()
            logger.info("run %d of %d: %s", number, len(combinations), combination.name)
            outcomes.append(_run(folder, combination, recipe, stages))
    return Sweep(folder, tuple(outcomes), _points(folder, stages))


def _check_place(folder: Path) -> None:
    if (folder / RECIPE).exists():
        raise RecipeError(f"--folder: must be a folder of its own for the sweep's runs, got the run {folder}")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise RecipeError(
            f"{folder}: the sweep's runs cannot be there, for {there} is a file; give another --folder or --runs-dir"
        )


def _points(folder: Path, stages: Mapping[str, Any]) -> Points | None:
    try:
        return collect_points(folder, stages)[0]
    except RecipeError as error:
        logger.warning("%s", error)
        return None


def _run(folder: Path, combination: Combination, recipe: Recipe, stages: Mapping[str, Any]) -> Outcome:
    run_dir = folder / combination.name
    shared: tuple[str, ...] = ()
    try:
        if processes.is_main():
            shared = _share(run_dir, recipe, stages)
        processes.wait()
        return Outcome(combination, execute(build_plan(recipe, run_dir, stages)), shared)
    except CompressionError as error:
        message = " ".join(str(error).split())
    except Exception as error:  # whatever one run fails of, the others can do without it
        message = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
        logger.debug("%s", combination.name, exc_info=error)
    logger.error("%s failed: %s", combination.name, message)
    return Outcome(combination, None, shared, message)


def _share(run_dir: Path, recipe: Recipe, stages: Mapping[str, Any]) -> tuple[str, ...]:
    others = [path for path in sorted(run_dir.parent.iterdir()) if (path / RECIPE).is_file() and path != run_dir]
    share_commits(run_dir, others)
    run = Run.open(run_dir) if run_dir.is_dir() else Run(run_dir)
    return share_stages(Inspector(recipe, run, stages), others)
