"""What a run loads, and only when a stage asks for it: the task, the models a stage starts from, the teacher."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.fingerprint import MODEL_SEED, derive_seed
from pipeline.artifacts.manifest import file_digests
from pipeline.recipe.sources import ModelSource
from pipeline.runner.inspection import Inspector
from pipeline.runner.work import teachers_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task
    from pipeline.teaching.shelf import TeacherShelf


class Workbench:
    """The task and the models of one run; ``processor_dir`` is the first artifact's model folder once it is there."""

    def __init__(self, inspector: Inspector, processor_dir: Path | None) -> None:
        self.inspector = inspector
        self.processor_dir = processor_dir
        self._first_model: PreTrainedModel | None = None

    @cached_property
    def task(self) -> Task:
        """The task, its data read and encoded at the commit this run uses."""
        from pipeline.tasks import build_task

        recipe, identities = self.inspector.recipe, self.inspector.identities
        source = recipe.task.model_copy(update={"dataset": identities.pin_dataset(recipe.task.dataset)})
        model = identities.pin_model(recipe.model)
        return build_task(source, model=model, processor_dir=self.processor_dir, seed=recipe.seed)

    def prepare_first_model(self) -> None:
        """Load the first model now, so that a wrong one is refused before anything is written."""
        self._first_model = self._source_model(self.inspector.recipe.model)
        self.task.check_model(self._first_model)
        self._check_budget(self._first_model)

    def check_teachers(self, stages: Collection[str]) -> None:
        """Load each teacher of ``stages`` that is no stage, and let it go again: a wrong one is refused now too."""
        checked: list[ModelSource] = []
        for index, stage in enumerate(self.inspector.recipe.stages):
            teacher = self.inspector.teacher(index) if stage.name in stages else None
            if teacher is not None and teacher.source is not None and teacher.source not in checked:
                self._outside_teacher(teacher.source)
                checked.append(teacher.source)

    def parent_loader(self, index: int) -> Callable[[], PreTrainedModel]:
        """Return what loads the model the stage starts from."""
        parent = self.inspector.parent(index)
        return self._take_first_model if parent is None else lambda: self.load(self._model_dir(parent))

    def model_before(self, index: int) -> PreTrainedModel:
        """Return the model that the stage at ``index`` starts from, to be looked at and not changed."""
        parent = self.inspector.parent(index)
        if parent is None:
            return self._first_model or self._source_model(self.inspector.recipe.model)
        self.inspector.run[parent].verify(self.inspector.identities.files)
        return self.load(self._model_dir(parent))

    def teacher_loader(self, index: int) -> Callable[[], PreTrainedModel | None]:
        """Return what loads the teacher, frozen and in evaluation mode; it returns None where none is needed."""
        teacher = self.inspector.teacher(index)

        def load() -> PreTrainedModel | None:
            if teacher is None:
                return None
            if teacher.stage is not None:
                model = self.load(self._model_dir(teacher.stage))
            else:
                model = self._outside_teacher(teacher.source or self.inspector.recipe.model)
            model.requires_grad_(False)
            return model.eval()

        return load

    def teacher_shelf(self, index: int) -> Callable[[], TeacherShelf | None]:
        """Return what tells where the answers of the stage's teacher are kept; None where it needs none."""
        inspector = self.inspector
        teacher = inspector.teacher(index)

        def shelf() -> TeacherShelf | None:
            from pipeline.teaching.shelf import TeacherShelf

            if teacher is None:
                return None
            document = inspector.document(index)
            identity = {name: document[name] for name in ("teacher", "data", "task", "seed")}
            with tempfile.TemporaryDirectory() as folder:
                self.task.save_processor(Path(folder))
                identity["processor"] = file_digests(Path(folder))
            return TeacherShelf(teachers_folder(inspector.run), identity, self.teacher_passes(index))

        return shelf

    def teacher_passes(self, index: int) -> float:
        """Return how often all stages with the teacher of the stage at ``index`` go over the training split."""
        from pipeline.training.job import num_steps, steps_per_epoch

        inspector = self.inspector
        teacher = inspector.teacher(index)
        configs = [
            stage.config for other, stage in enumerate(inspector.recipe.stages) if inspector.teacher(other) == teacher
        ]
        return sum(num_steps(config, self.task) / steps_per_epoch(config, self.task) for config in configs)

    def dense_model(self) -> PreTrainedModel:
        """Return what sparsity and speed-up are counted against: the first stage's model, or its source if it cut."""
        first = self.inspector.run.artifacts().get(self.inspector.recipe.stages[0].name)
        if first is None or first.keep_plan is not None:
            return self._source_model(self.inspector.recipe.model)
        first.verify()
        return self.load(first.model_dir)

    def load(self, folder: Path) -> PreTrainedModel:
        """Return the model saved in ``folder``, its parameters in fresh memory."""
        from pipeline.models import load_model

        return load_model(folder, self.task.auto_model)

    def _check_budget(self, model: PreTrainedModel) -> None:
        """Refuse a budget that the recipe's stages cannot keep, before any of them has run for nothing."""
        recipe = self.inspector.recipe
        if recipe.budget is not None:
            from pipeline.allowance import Allowance

            Allowance.of(model, None, recipe.budget, self.task).check(model, recipe.pruning_from(0))

    def _take_first_model(self) -> PreTrainedModel:
        model, self._first_model = self._first_model, None
        return self._source_model(self.inspector.recipe.model) if model is None else model

    def _outside_teacher(self, source: ModelSource) -> PreTrainedModel:
        model = self._source_model(source, is_teacher=True)
        self.task.check_teacher(model, self.inspector.identities.pin_model(source))
        return model

    def _source_model(self, source: ModelSource, *, is_teacher: bool = False) -> PreTrainedModel:
        from pipeline.models import source_model

        seed = derive_seed(self.inspector.recipe.seed, MODEL_SEED)
        return source_model(self.inspector.identities.pin_model(source), self.task, seed, is_teacher=is_teacher)

    def _model_dir(self, stage: str) -> Path:
        return self.inspector.run[stage].model_dir
