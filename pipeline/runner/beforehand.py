"""Finds the settings of later stages that cannot work, before an earlier one is trained for nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from pipeline.errors import RecipeError
from pipeline.stage import CheckedStage

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.runner.workbench import Workbench


def check_stages(bench: Workbench, names: Collection[str]) -> None:
    """Refuse what the machine or the model cannot do of the stages called ``names``, the first of which can begin.

    The model is the one that the first of them starts from: names and layers stay through cuts. A stage that cannot
    check itself may make another kind of model, so that what comes after it is not checked against this one.
    """
    from pipeline.training.requirements import check_machine

    recipe = bench.inspector.recipe
    asked = {index: stage for index, stage in enumerate(recipe.stages) if stage.name in names}
    for said in asked.values():
        check_machine(said.config, where=partial(recipe.section, said.name))
    model: PreTrainedModel | None = None
    for index, said in asked.items():
        stage = bench.inspector.stages[index]
        if not isinstance(stage, CheckedStage):
            return
        model = model or bench.model_before(index)
        from pipeline.training.freezing import names_to_freeze

        try:
            names_to_freeze(model, said.config.freeze)
            stage.check(said.config, model, bench.task, _teacher(bench, index, model))
        except ValueError as error:
            setting, _, _ = str(error).partition(":")
            raise RecipeError(f"{recipe.section(said.name, setting)}.{error}") from None


def _teacher(bench: Workbench, index: int, model: PreTrainedModel) -> Callable[[], PreTrainedModel | None]:
    """Return what gives the teacher, or in place of one that is a stage of the run ``model``, which is like it."""
    teacher = bench.inspector.teacher(index)
    is_like_it = teacher is not None and teacher.stage is not None
    return (lambda: model) if is_like_it else bench.teacher_loader(index)
