"""The pruners of heads and of FFN channels as they are built for a training loop of one's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.errors import UnsupportedArchitecture
from pipeline.recipe.training import StageConfig
from pipeline.surgery.condense import check_condensable
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan
from pipeline.surgery.masking import mask_in_place
from pipeline.surgery.wrappers import bare
from stages.prune_ffn.config import PruneFfnConfig
from stages.prune_ffn.pruners import build_pruner as build_channel_pruner
from stages.prune_heads.config import PruneHeadsConfig
from stages.prune_heads.pruners import build_pruner as build_head_pruner
from stages.pruning import UnitsPruner
from stages.schedules import resolve_span

logger = logging.getLogger(__name__)

Config = TypeVar("Config", bound=StageConfig)


class OwnLoopPruner:
    """The pruner that a stage's config asks for, for a loop of ``num_steps`` optimizer steps.

    ``finish`` returns the units kept: ``condense(model, keep_plan)`` then cuts the others out. What a config says of
    training, teaching and repair is for the stage to do, and of no effect here.
    """

    def __init__(self, model: nn.Module, config: StageConfig, pruner: UnitsPruner, num_steps: int) -> None:
        self.model = model
        self.config = config
        self.num_steps = num_steps
        self._pruner = pruner
        try:
            check_condensable(model)
        except UnsupportedArchitecture as error:
            logger.warning("what is pruned can be masked, but not condensed: %s", error)

    def before_optimizer_step(self, step: int) -> None:
        """Read the gradients of ``step`` (from 0; reduced and unscaled, not yet clipped) and restore raw weights."""
        self._pruner.before_optimizer_step(step)

    def after_optimizer_step(self, step: int, lr: float) -> None:
        """Mask the new weights for ``step + 1``."""
        self._pruner.after_optimizer_step(step, lr)

    def finish(self) -> KeepPlan:
        """Restore what is kept, mask what goes, and return the units kept: the model computes what the cut one will."""
        plan = self._pruner.finish()
        assert plan is not None, "a pruner of units says which units stay"
        mask_in_place(self.model, plan)
        return plan

    def state_dict(self) -> dict[str, Tensor]:
        """Return every tensor that a resume needs."""
        return self._pruner.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned, after the model's own; ``ValueError`` when it does not fit."""
        self._pruner.load_state_dict(state)

    def logs(self) -> dict[str, float]:
        """Return numbers such as the share of units removed."""
        return self._pruner.logs()

    def tensors(self) -> dict[str, Tensor]:
        """Return scores or importances, and their history."""
        return self._pruner.tensors()


class MovementPruner(OwnLoopPruner):
    """Removes attention heads by movement pruning, with the settings of the stage ``prune_heads``."""

    def __init__(self, model: nn.Module, config: PruneHeadsConfig | Mapping[str, Any], *, num_steps: int) -> None:
        """Find the heads of ``model``; raises ``ValueError`` for settings that do not fit it."""
        read = _read(PruneHeadsConfig, config)
        span = resolve_span(read.prune_begin, read.prune_end, num_steps)
        model = bare(model)
        super().__init__(model, read, build_head_pruner(model, dissect(model), read, span, num_steps), num_steps)


class TaylorPruner(OwnLoopPruner):
    """Removes FFN channels by their first-order effect on the loss, with the settings of the stage ``prune_ffn``."""

    def __init__(self, model: nn.Module, config: PruneFfnConfig | Mapping[str, Any], *, num_steps: int) -> None:
        """Find the channels of ``model``; raises ``ValueError`` for settings that do not fit it."""
        read = _read(PruneFfnConfig, config)
        span = resolve_span(read.prune_begin, read.prune_end, num_steps)
        model = bare(model)
        super().__init__(model, read, build_channel_pruner(model, dissect(model), read, span), num_steps)


def _read(kind: type[Config], config: Config | Mapping[str, Any]) -> Config:
    """Return the config; raises ``ValueError`` with one line for the first setting that is wrong."""
    if not isinstance(config, Mapping):
        return config
    try:
        return kind.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        path, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{path}: {message}, got {first['input']!r}" if path else message) from None
