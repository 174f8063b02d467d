"""How long stages will take: each is begun as it will run and stopped after a few steps; the rest is arithmetic.

A stage whose units leave while it trains is begun once more as it is when they have left.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pipeline import interruption
from pipeline.artifacts.fingerprint import derive_seed
from pipeline.forecast.around import time_around
from pipeline.forecast.costs import FirstModel
from pipeline.forecast.schedule import Amount, num_evaluations, training_amount
from pipeline.forecast.units import Left
from pipeline.runner.work import teachers_folder
from pipeline.runner.workbench import Workbench
from pipeline.stage import StageContext
from pipeline.surgery.condense import condense
from pipeline.surgery.keep_plan import KeepPlan
from pipeline.teaching.rehearsal import Rehearsal
from pipeline.training.metrics_log import MetricsLog

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WARMUP_STEPS, LEAST_STEPS, MOST_STEPS = 3, 8, 60
TIMED_SECONDS = 3.0


@runtime_checkable
class GetsFaster(Protocol):
    """A stage whose steps take less time as it goes on."""

    def soon_fast(self, config: Any, num_steps: int) -> tuple[dict[str, Any], float] | None:
        """Return the settings with which nearly all steps are as fast as the last, and the share of that in a run.

        The share is the mean over the ``num_steps``: 0 for a step as slow as the first, 1 for one as fast as the last.
        None where all are alike.
        """


class Enough(Exception):  # noqa: N818 - it tells that all is well
    """Ends a stage that was only begun to be timed."""


class StepTimes(MetricsLog):
    """A log that keeps the seconds and the tokens of each step, and ends the training once it has enough of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, writes=False)
        self.steps: list[tuple[float, int]] = []
        self._last: tuple[float, int] | None = None
        self._seen = 0

    def __call__(self, step: int, **values: Any) -> None:
        """Take the time of a step; what passed before a line that is no step's is not counted."""
        now = time.perf_counter()
        if "loss" not in values:
            self._last = None if self._last is None else (now, self._last[1])
            return
        interruption.check()
        self._seen += 1
        if self._last is not None and self._seen > WARMUP_STEPS:
            self.steps.append((now - self._last[0], values["tokens"] - self._last[1]))
        self._last = (now, values["tokens"])
        spent = sum(seconds for seconds, _ in self.steps)
        if len(self.steps) >= MOST_STEPS or (len(self.steps) >= LEAST_STEPS and spent >= TIMED_SECONDS):
            raise Enough

    def seconds(self, amount: Amount) -> float:
        """Return what all of ``amount`` takes: by the token where rows have lengths, else by the step."""
        if not self.steps:
            return 0.0
        spent, tokens = (sum(numbers) for numbers in zip(*self.steps, strict=True))
        if amount.tokens is not None and tokens > 0:
            return float(spent / tokens * amount.tokens)
        return float(spent / len(self.steps) * amount.steps)


def estimate_stages(bench: Workbench, first: FirstModel, lefts: Sequence[Left], folder: Path) -> Iterator[float]:
    """Yield the seconds of each stage; a model that training will set is timed as what is known of it.

    ``lefts`` holds the units before the first stage, then those after each.
    """
    models = Models(first, lefts)
    for index in range(len(lefts) - 1):
        inspector = bench.inspector
        stage = inspector.recipe.stages[index]
        amount = training_amount(stage.config, bench.task, derive_seed(inspector.recipe.seed, stage.name))
        before = sum(models.passes.values())
        training = _training_seconds(bench, models, index, amount, folder / stage.name)
        training += sum(models.passes.values()) - before
        reference = None if models.is_whole(index + 1) else first.model
        around = time_around(models.before(index + 1), reference, bench.task)
        scoring = (num_evaluations(stage.config, bench.task) + 1) * around.evaluation
        if lefts[index] != lefts[index + 1]:
            scoring += around.of_first_split
        yield training + scoring + around.measurements


class Models:
    """The model before each stage, and after the last, as far as it is known; the weights are the first model's.

    ``passes`` takes the seconds in which a teacher's answers would be written for the stage at hand and later ones.
    """

    def __init__(self, first: FirstModel, lefts: Sequence[Left]) -> None:
        self.passes: dict[Path, float] = {}
        self.first = first
        self.plans = [first.keep_plan(left) for left in lefts]

    def before(self, index: int) -> PreTrainedModel:
        """Return the model that the stage at ``index`` starts from."""
        first, plan = self.first.model, self.known(index)
        model: PreTrainedModel = copy.deepcopy(first) if self.is_whole(index) else condense(first, plan)
        return model

    def is_whole(self, index: int) -> bool:
        """Say whether nothing is known to be gone before the stage at ``index``."""
        return all(len(kept.units) == kept.of for kept in self.known(index).values())

    def known(self, index: int) -> KeepPlan:
        """Return the plan of the model before the stage at ``index``, relative to the first, as far as it is known."""
        return [plan for plan in self.plans[: index + 1] if plan is not None][-1]


def _training_seconds(bench: Workbench, models: Models, index: int, amount: Amount, folder: Path) -> float:
    """Return what the steps of the stage take, those that get faster weighed by how much."""
    machine, config = bench.inspector.stages[index], bench.inspector.recipe.stages[index].config
    first = _time_steps(bench, models, index, folder / "first").seconds(amount)
    faster = machine.soon_fast(config, amount.steps) if isinstance(machine, GetsFaster) else None
    if faster is None:
        return first
    changes, share = faster
    last = _time_steps(bench, models, index, folder / "last", **changes).seconds(amount)
    return (1.0 - share) * first + share * last


def _time_steps(bench: Workbench, models: Models, index: int, folder: Path, **settings: Any) -> StepTimes:
    """Begin the stage as it will run, with its pruner and its teacher, and return the times of its first steps.

    ``settings`` replace its own.
    """
    inspector = bench.inspector
    stage = inspector.recipe.stages[index]
    changes = {"log_every": 1, "evaluate_every": None, "progress": False, "save_seconds": float("inf"), **settings}
    log = StepTimes(folder / "metrics.jsonl")
    context = StageContext(
        name=stage.name,
        config=stage.config.model_copy(update=changes),
        task=bench.task,
        work_dir=folder,
        seed=derive_seed(inspector.recipe.seed, stage.name),
        log=log,
        load_model=lambda: models.before(index),
        load_teacher=lambda: _teacher(bench, models, index),
        parent_keep_plan=models.known(index),
        budget=inspector.recipe.stage_budget(index),
        teacher_shelf=lambda: _shelf(bench, models, index),
    )
    with suppress(Enough):
        inspector.stages[index].run(context)
    return log


def _shelf(bench: Workbench, models: Models, index: int) -> Rehearsal:
    identity = {"teacher": str(bench.inspector.teacher(index))}
    return Rehearsal(teachers_folder(bench.inspector.run), identity, bench.teacher_passes(index), models.passes)


def _teacher(bench: Workbench, models: Models, index: int) -> PreTrainedModel | None:
    teacher = bench.inspector.teacher(index)
    if teacher is None or teacher.stage is None:
        return bench.teacher_loader(index)()
    names = [stage.name for stage in bench.inspector.recipe.stages]
    model = models.before(names.index(teacher.stage) + 1)
    model.requires_grad_(False)
    return model.eval()
