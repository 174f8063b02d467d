"""What the settings of a training need of the machine, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.training.precision import check_precision
from pipeline.training.processes import launched
from pipeline.training.tracking import check_tracking

if TYPE_CHECKING:
    from pipeline.recipe.training import TrainingConfig


def check_machine(config: TrainingConfig, *, where: Callable[[str], str]) -> None:
    """Raise ``RecipeError`` for a precision that the device has not, or a tracker that is not installed.

    ``where`` gives the section of the recipe that a setting of ``config`` is from, by the setting's name.
    """
    check_precision(config.mixed_precision, launched().device, where=where("mixed_precision"))
    if config.tracking is not None:
        check_tracking(config.tracking, where=where("tracking"))
