"""NeurST's way to prune: an optimizer that masks the weights whenever it steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from pipeline.integrations.counted import KEYS, CountedPruner, learning_rate
from pipeline.surgery.keep_plan import KeepPlan
from pipeline.training.pruner import Pruner


class PrunedOptimizer(torch.optim.Optimizer):
    """An optimizer around another one, which tells ``pruner`` of every step; the loop need know nothing of pruning.

    ::

        optimizer = PrunedOptimizer(torch.optim.AdamW(model.parameters()), Sparsifier(model, config, num_steps=1000))

    It counts its own steps: one that a ``GradScaler`` skips is none. The pruner has to see gradients before they are
    clipped, so ``max_grad_norm`` clips them here, to that norm; do not clip them outside. Everything else is the
    inner optimizer's: groups, state, learning-rate schedulers, ``zero_grad``. The state dictionary holds the pruner's
    state, too: load the model's weights before it.
    """

    _step_supports_amp_scaling = False  # or a GradScaler would leave it to a fused optimizer to unscale

    def __init__(self, optimizer: torch.optim.Optimizer, pruner: Pruner, *, max_grad_norm: float | None = None) -> None:
        """Wrap ``optimizer``; raises ``ValueError`` for one that computes its gradients itself, as LBFGS does."""
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError("optimizer: must take one gradient for each step, got LBFGS; use AdamW or SGD")
        self.optimizer = optimizer
        self.pruner = pruner
        self._counted = CountedPruner(pruner)
        self._max_grad_norm = max_grad_norm

    @property
    def num_steps(self) -> int:
        """How many steps were done."""
        return self._counted.num_steps

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The inner optimizer's groups of parameters."""
        return self.optimizer.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        """The inner optimizer's state by parameter."""
        return self.optimizer.state

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """The inner optimizer's defaults."""
        return self.optimizer.defaults

    def __getattr__(self, name: str) -> Any:
        """Return what only the inner optimizer has."""
        if name == "optimizer":
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return f"PrunedOptimizer({type(self.pruner).__name__}, {self.optimizer!r})"

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step of the inner optimizer between the pruner's two calls; a closure is called once, before it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        lr = learning_rate(self.optimizer, self.pruner)
        self._counted.before(self._parameters(), self._max_grad_norm)
        self.optimizer.step()
        self._counted.after(lr)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad(set_to_none=set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters to the inner optimizer; the pruner's weights were chosen when it was built."""
        self.optimizer.add_param_group(param_group)

    def finish(self) -> KeepPlan | None:
        """Let the pruner decide for good, and return the units kept (None for a pruner of single weights)."""
        return self.pruner.finish()

    def state_dict(self) -> dict[str, Any]:
        """Return the inner optimizer's state with the pruner's beside it."""
        return {**self.optimizer.state_dict(), **self._counted.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned, after the model's own; ``ValueError`` when it does not fit."""
        self._counted.load_state_dict(state_dict)
        self.optimizer.load_state_dict({name: part for name, part in state_dict.items() if name not in KEYS})

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]
