"""What the machine knows of a stage: its configuration, its version, and a function from parent to model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pipeline.recipe.budget import StageBudget
    from pipeline.recipe.training import StageConfig
    from pipeline.surgery.keep_plan import KeepPlan
    from pipeline.tasks.task import Task
    from pipeline.teaching.shelf import TeacherShelf
    from pipeline.training.metrics_log import MetricsLog


@dataclass(frozen=True)
class StageContext:
    """All that a stage may touch.

    ``load_model`` returns the parent's model with its parameters in fresh memory; ``load_teacher`` the teacher,
    frozen and in evaluation mode, or None when the stage needs none. ``seed`` derives from the recipe's and the
    stage's name; ``work_dir`` holds the half-done stage and survives a crash. ``parent_keep_plan`` says what is left
    of the first model; ``budget`` is the recipe's, of a stage that prunes. ``teacher_shelf`` tells where the teacher's
    answers may be written down for all stages of the run; None: nowhere.
    """

    name: str
    config: Any
    task: Task
    work_dir: Path
    seed: int
    log: MetricsLog
    load_model: Callable[[], PreTrainedModel]
    load_teacher: Callable[[], PreTrainedModel | None]
    parent_keep_plan: KeepPlan | None = None
    budget: StageBudget | None = None
    teacher_shelf: Callable[[], TeacherShelf | None] = lambda: None


@dataclass(frozen=True)
class StageResult:
    """What a stage hands back; the runner evaluates, saves and commits it.

    ``keep_plan`` is the stage's own, relative to its parent's model. ``metrics`` are numbers only the stage can know
    (such as the metric just before the cut); ``tensors`` are written to ``scores.safetensors``; ``details`` is JSON
    (such as the precision chosen).
    """

    model: PreTrainedModel
    keep_plan: KeepPlan | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Stage(Protocol):
    """One step of the pipeline; stateless, and light to import: what is heavy waits inside ``run``.

    ``version`` changes when the code computes something else: older artifacts are then stale. A later stage without
    a ``teacher:`` of its own takes the last stage before it that ``provides_teacher``.
    """

    Config: ClassVar[type[StageConfig]]
    version: ClassVar[int]
    provides_teacher: ClassVar[bool]

    def needs_teacher(self, config: Any) -> bool:
        """Say whether ``run`` will ask for the teacher, so that the fingerprint depends on it."""

    def run(self, context: StageContext) -> StageResult:
        """Train or cut the parent's model; resume from ``context.work_dir`` if an earlier run was cut short."""


@runtime_checkable
class CheckedStage(Protocol):
    """A stage that hands on the parameters it is given by their names, and can check its settings against a model."""

    def check(
        self, config: Any, model: PreTrainedModel, task: Task, teacher: Callable[[], PreTrainedModel | None]
    ) -> None:
        """Raise ``ValueError`` beginning with a setting's name where ``config`` cannot work; ``model`` stays as it is.

        It is called before any stage is trained, so that widths may be others by the time of ``run``. ``teacher``
        returns one that is like the stage's own.
        """
