"""The pruner of single weights: masks by blocks, on a schedule, in any training loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from stages.sparsify.config import SparsifyConfig


class Sparsifier:
    """A ``Pruner`` that writes zeros into the weights of any model while it trains.

    In a loop of one's own, ``step`` counting optimizer steps from 0::

        pruner = Sparsifier(model, SparsifyConfig(sparsity=0.9, pattern="4x1"), num_steps=len(loader) * epochs)
        for step, batch in enumerate(batches):
            model(**batch).loss.backward()
            pruner.before_optimizer_step(step)
            optimizer.step()
            pruner.after_optimizer_step(step, lr)
            optimizer.zero_grad()
        pruner.finish()
    """

    def __init__(
        self, model: nn.Module, config: SparsifyConfig | Mapping[str, Any], *, num_steps: int | None = None
    ) -> None:
        """Find the weights to touch; ``num_steps`` may be left out where the schedule counts steps.

        Raises ``ValueError`` for settings that do not fit the model.
        """
        self.model = model
        self.config = config if isinstance(config, SparsifyConfig) else SparsifyConfig(**config)
        self.num_steps = num_steps

    def before_optimizer_step(self, step: int) -> None:
        """Read the gradients of ``step``, and zero those of weights that are masked."""

    def after_optimizer_step(self, step: int, lr: float) -> None:
        """Mask, take group lasso's proximal step, and choose anew if an update is due after ``step``."""

    def finish(self) -> None:
        """Write the masks for good; there are no units to tell of."""

    def update(self, **settings: Any) -> None:
        """Change settings that the layers do not depend on.

        ``begin`` and ``end`` (also ``start_step`` and ``end_step``), ``every``, ``kind``, ``power``, ``sparsity``,
        ``initial_sparsity``, ``max_sparsity_per_layer``, ``min_sparsity_per_layer``, ``group_lasso``, ``num_steps``.
        Raises ``ValueError`` for any other name.
        """

    def masks(self) -> dict[str, Tensor]:
        """Return by parameter name which weights are kept, bool, each in the shape of its parameter."""
        return {}

    def logs(self) -> dict[str, float]:
        """Return ``weights_removed``, the share of touched weights masked, and ``target``, the schedule's share."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return masks and, of snip_momentum, scores."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned, and mask the weights by it; ``ValueError`` when it does not fit."""
