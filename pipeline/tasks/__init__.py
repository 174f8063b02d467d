"""Tasks by the hub's names: which rows, encoded how, predicted as what, and scored by which metrics."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import RecipeError

if TYPE_CHECKING:
    from pipeline.recipe.sources import ModelSource, TaskSource
    from pipeline.tasks.task import Task

TASKS = {
    "text-classification": "pipeline.tasks.text_classification:build",
    "image-classification": "pipeline.tasks.image_classification:build",
}


def build_task(source: TaskSource, *, model: ModelSource, processor_dir: Path | None, seed: int) -> Task:
    """Return the task over its data, with the processor of ``processor_dir``, else of ``model``.

    A model from a config has no processor: one is trained on, or made for, the training split. Raises ``DataError``
    in one line where the data is not what ``source`` says; texts and images are encoded when first asked for.
    """
    if source.type not in TASKS:
        raise RecipeError(f"task.type: must be one of {', '.join(TASKS)}, got {source.type!r}")
    module, _, name = TASKS[source.type].partition(":")
    build: Callable[..., Task] = getattr(import_module(module), name)
    return build(source, model=model, processor_dir=processor_dir, seed=seed)
