"""One stage from its parent to a committed artifact: run, save, load back, measure, commit."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import interruption
from pipeline.artifacts.commit import commit, discard_candidate, new_candidate, reach, writing
from pipeline.artifacts.fingerprint import derive_seed, fingerprint
from pipeline.artifacts.layout import HISTORY, KEEP_PLAN, MODEL, SCORES, TOTAL_KEEP_PLAN
from pipeline.artifacts.manifest import Manifest, environment, file_digests, now
from pipeline.artifacts.stage_folders import folder_name
from pipeline.runner import processes
from pipeline.runner.work import StageWork
from pipeline.runner.workbench import Workbench
from pipeline.stage import StageContext, StageResult

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.surgery.keep_plan import KeepPlan
    from pipeline.training.metrics_log import MetricsLog

RUN_POINTS = ("stage.ran", "stage.saved", "stage.measured", "stage.committed")
"""Every place between two effects of a stage around its commit, in order."""

logger = logging.getLogger(__name__)


def run_stage(bench: Workbench, index: int) -> None:
    """Run the stage at ``index``, or resume it, and commit its artifact; the artifacts it is made from are verified.

    Whatever fails, earlier artifacts stay as they are, and the half-done work stays for a resume.
    """
    inspector = bench.inspector
    stage, run = inspector.recipe.stages[index], inspector.run
    for name in inspector.needed_stages(index):
        run[name].verify()
    _warn_of_zeros(bench, index)
    mark = fingerprint(inspector.document(index))
    work = StageWork(run.path, stage.name)
    if processes.is_main():
        work.open(mark)
    processes.wait()
    try:
        with _log(bench, index, work) as log:
            result = inspector.stages[index].run(_context(bench, index, work, log))
        reach("stage.ran")
        interruption.check()
        if processes.is_main():
            _commit_result(bench, index, result, work)
    except BaseException:
        if processes.is_main():
            work.close(mark)
        raise
    if processes.is_main():
        reach("stage.committed")
        work.remove()
    processes.wait()


def _warn_of_zeros(bench: Workbench, index: int) -> None:
    """Tell of zeros in the weights that the stage is given, unless it is one that sees to them."""
    stage, parent = bench.inspector.recipe.stages[index], bench.inspector.parent(index)
    zeros = 0.0 if parent is None else bench.inspector.run[parent].metrics.get("weight_sparsity", 0.0)
    if zeros > 0 and "pattern_lock" not in type(stage.config).model_fields and processes.is_main():
        logger.warning(
            "%s: the zeros of %s (%.1f%% of the weights it touched) are lost where they are trained further; sparsify "
            "last, or train on with a sparsify with pattern_lock: true",
            stage.name,
            parent,
            100 * zeros,
        )


def _log(bench: Workbench, index: int, work: StageWork) -> AbstractContextManager[MetricsLog]:
    from pipeline.training.tracking import stage_log

    stage, run = bench.inspector.recipe.stages[index], bench.inspector.run
    path = work.path / HISTORY
    return stage_log(stage.config, path, run_dir=run.path, stage=stage.name, writes=processes.is_main())


def _context(bench: Workbench, index: int, work: StageWork, log: MetricsLog) -> StageContext:
    recipe = bench.inspector.recipe
    stage, parent = recipe.stages[index], bench.inspector.parent(index)
    return StageContext(
        name=stage.name,
        config=stage.config,
        task=bench.task,
        work_dir=work.path,
        seed=derive_seed(recipe.seed, stage.name),
        log=log,
        load_model=bench.parent_loader(index),
        load_teacher=bench.teacher_loader(index),
        teacher_shelf=bench.teacher_shelf(index),
        parent_keep_plan=None if parent is None else bench.inspector.run[parent].total_keep_plan,
        budget=recipe.stage_budget(index),
    )


def _commit_result(bench: Workbench, index: int, result: StageResult, work: StageWork) -> None:
    inspector = bench.inspector
    stage, run = inspector.recipe.stages[index], inspector.run
    target = run.path / folder_name(index, stage.name)
    previous = run.artifacts().get(stage.name)
    try:
        candidate = new_candidate(target)
        total = _total_plan(bench, index, result)
        with writing(candidate):
            _save(bench, result, total, work, candidate)
        reach("stage.saved")
        metrics = {**result.metrics, **_measure(bench, index, candidate / MODEL, is_cut=result.keep_plan is not None)}
        with writing(candidate):
            _write_card(bench, index, candidate / MODEL, metrics, total)
            files = file_digests(candidate)
        reach("stage.measured")
        manifest = _manifest(bench, index, result, metrics, files, work)
        commit(candidate, target, manifest.to_bytes(), replaces=previous.path if previous else None)
    finally:
        discard_candidate(target)
    for name, value in files.items():
        inspector.identities.files.remember(target / name, value)
    logger.info("%s: committed as %s after %.1f s%s", stage.name, target, manifest.seconds, _score(bench, metrics))


def _total_plan(bench: Workbench, index: int, result: StageResult) -> KeepPlan | None:
    """Return what is left of the first model: the parent's plan, then the stage's own."""
    parent = bench.inspector.parent(index)
    before = None if parent is None else bench.inspector.run[parent].total_keep_plan
    if before is None or result.keep_plan is None:
        return result.keep_plan if before is None else before
    return before.then(result.keep_plan)


def _save(bench: Workbench, result: StageResult, total: KeepPlan | None, work: StageWork, candidate: Path) -> None:
    from pipeline.models import save_model

    save_model(result.model, candidate / MODEL)
    bench.task.save_processor(candidate / MODEL)
    for name, plan in ((KEEP_PLAN, result.keep_plan), (TOTAL_KEEP_PLAN, total)):
        if plan is not None:
            (candidate / name).write_text(json.dumps(plan.to_json(), indent=1) + "\n", "utf-8")
    if result.tensors:
        _save_tensors(result.tensors, candidate / SCORES)
    if (work.path / HISTORY).exists():
        shutil.copyfile(work.path / HISTORY, candidate / HISTORY)


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, path)


def _measure(bench: Workbench, index: int, folder: Path, *, is_cut: bool) -> dict[str, float]:
    """Return the scores and the costs of the saved model, loaded back as any reader of the artifact loads it."""
    from pipeline.reporting.profile import profile_stage
    from pipeline.training.evaluation import evaluate

    model = bench.load(folder)
    scores = evaluate(model, bench.task)
    interruption.check()
    is_dense = index == 0 and not is_cut
    reference = model if is_dense else bench.dense_model()
    return {**profile_stage(model, reference, bench.task, folder=folder), **scores}


def _environment() -> dict[str, Any]:
    from pipeline.reporting.profile import device_name

    return environment(device_name())


def _write_card(
    bench: Workbench, index: int, folder: Path, metrics: Mapping[str, float], total: KeepPlan | None
) -> None:
    from pipeline.reporting.model_card import write_card

    write_card(
        folder,
        recipe=bench.inspector.recipe,
        stage=bench.inspector.recipe.stages[index].name,
        auto_model=bench.task.auto_model,
        metrics=metrics,
        keep_plan=total,
        environment=_environment(),
    )


def _manifest(
    bench: Workbench,
    index: int,
    result: StageResult,
    metrics: Mapping[str, float],
    files: Mapping[str, str],
    work: StageWork,
) -> Manifest:
    inspector = bench.inspector
    stage, document = inspector.recipe.stages[index], inspector.document(index)
    details: dict[str, Any] = {**result.details, "auto_model": bench.task.auto_model}
    return Manifest(
        stage=stage.name,
        uses=stage.uses,
        version=inspector.stages[index].version,
        fingerprint=fingerprint(document),
        document=document,
        inputs=inspector.inputs(index),
        files=files,
        metrics={name: float(value) for name, value in metrics.items()},
        details=details,
        environment=_environment(),
        seconds=work.seconds(),
        created=now(),
    )


def _score(bench: Workbench, metrics: Mapping[str, float]) -> str:
    name = f"{next(iter(bench.task.validation))}/{bench.task.main_metric()}"
    return f", {name} {metrics[name]:.4f}" if name in metrics else ""
