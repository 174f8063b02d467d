"""Carries out a plan under the run's lock: skips what is fresh, redoes what is stale, resumes what is half done."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import interruption
from pipeline.artifacts.asked import keep_asked
from pipeline.artifacts.commit import delete, recover, write_file, writing
from pipeline.artifacts.layout import RECIPE
from pipeline.artifacts.lock import RunLock, holder
from pipeline.artifacts.run import Run
from pipeline.errors import ArtifactError
from pipeline.runner import processes
from pipeline.runner.planning import Plan
from pipeline.runner.work import StageWork, ask_redo, forget_done, teachers_folder

if TYPE_CHECKING:
    from pipeline.runner.workbench import Workbench

logger = logging.getLogger(__name__)


def execute(plan: Plan) -> Run:
    """Bring every stage of the plan up to date and return the run.

    What the recipe, the data or the first model lack is found before anything is written. Raises ``Interrupted``
    after SIGINT or SIGTERM, once the half-done stage is saved; the next run resumes it.
    """
    run = Run(plan.run_dir)
    processes.join()
    _refuse_busy(run)
    bench = _prepare(plan)
    processes.wait()
    with interruption.handling():
        interruption.check()
        with _locked(run.path):
            _begin(plan, run)
            processes.wait()
            try:
                _run_stages(plan, bench)
            finally:
                _end(plan, run)
        interruption.check()
    return run


def _refuse_busy(run: Run) -> None:
    """Tell of another writer at once, and not after the data is read."""
    if processes.is_main() and holder(run.path) is not None:
        with RunLock(run.path):
            pass


def _prepare(plan: Plan) -> Workbench | None:
    """Return the workbench with all loaded that can prove the recipe wrong; None if nothing has to run."""
    damaged = [stage for stage in plan.to_run if stage.state == "damaged"]
    if damaged:
        raise ArtifactError(damaged[0].reasons[0])
    if plan.is_fresh:
        return None
    from pipeline.runner.beforehand import check_stages
    from pipeline.runner.workbench import Workbench

    is_first_kept = plan.stages[0].state == "fresh" or plan.first > 0
    first = plan.inspector.run.artifacts().get(plan.stages[0].name) if is_first_kept else None
    bench = Workbench(plan.inspector, None if first is None else first.model_dir)
    if is_first_kept:
        _ = bench.task
    else:
        bench.prepare_first_model()
    names = [stage.name for stage in plan.to_run]
    bench.check_teachers(names)
    check_stages(bench, names)
    return bench


@contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """Hold the run folder, made if need be, while in the block; only the main process does."""
    if not processes.is_main():
        yield
        return
    with writing(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
    with RunLock(run_dir):
        yield


def _begin(plan: Plan, run: Run) -> None:
    """Write the recipe, what it asks, the hub's commits and what is to be redone, and end what a crash left halfway.

    The commits are kept from the start: after a kill, ``main`` may be another one.
    """
    if not processes.is_main():
        return
    recover(run.path)
    with writing(run.path):
        plan.inspector.identities.save()
    keep_asked(run.path, plan.inspector.asked())
    recipe = plan.recipe.dump()
    if not (run.path / RECIPE).exists() or run.recipe_text != recipe:
        write_file(run.path / RECIPE, recipe.encode())
    if plan.from_stage is not None:
        ask_redo(run, [stage.name for stage in plan.stages[plan.first :]])
        _warn_of_unused_changes(plan)


def _warn_of_unused_changes(plan: Plan) -> None:
    for stage in plan.stages[: plan.first]:
        if stage.state != "fresh":
            logger.warning("%s; --from %s takes it as it is", stage, plan.from_stage)


def _end(plan: Plan, run: Run) -> None:
    """Keep what was learnt of the data, and delete notes that are void; neither is worth failing for."""
    if not processes.is_main():
        return
    try:
        with writing(run.path):
            plan.inspector.identities.save()
            forget_done(run, [stage.name for stage in plan.recipe.stages])
    except ArtifactError as error:
        logger.warning("%s", error)


def _run_stages(plan: Plan, bench: Workbench | None) -> None:
    inspector = plan.inspector
    for index, planned in enumerate(plan.stages):
        if index < plan.first:
            continue
        interruption.check()
        processes.wait()
        stage = inspector.inspect(index)
        processes.wait()
        if stage.state == "fresh":
            logger.info("%s: fresh, skipped", stage.name)
            if processes.is_main():
                StageWork(inspector.run.path, stage.name).remove()
            continue
        if stage.state == "damaged":
            raise ArtifactError(stage.reasons[0])
        if bench is None:
            raise ArtifactError(f"{inspector.run.path}: {planned.name} was changed while this run began; run again")
        from pipeline.runner.stage_run import run_stage

        logger.info("%s: %s%s", stage.name, "resumes" if stage.state == "half-done" else "runs", _why(stage.reasons))
        run_stage(bench, index)
        if processes.is_main():
            _write_report(inspector.run)
    if processes.is_main():
        if len(plan.stages) == len(plan.recipe.stages):
            delete(teachers_folder(inspector.run))
        if bench is None:
            _write_report(inspector.run)
        _write_page(inspector.run)


def _write_report(run: Run) -> None:
    from pipeline.reporting.report import write_report

    with writing(run.path):
        write_report(run)


def _write_page(run: Run) -> None:
    from pipeline.reporting.page import write_page

    with writing(run.path):
        write_page(run)


def _why(reasons: tuple[str, ...]) -> str:
    return f" ({'; '.join(reasons)})" if reasons else ""
