"""A pruner that is told of optimizer steps by someone who does not count them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from pipeline.training.pruner import Pruner

KEYS = ("pruner", "num_steps")


class CountedPruner:
    """Counts optimizer steps from 0 for a pruner, and sees that its two calls alternate."""

    def __init__(self, pruner: Pruner) -> None:
        self.pruner = pruner
        self.num_steps = 0
        self.is_open = False

    def before(self, model: Iterable[nn.Parameter] = (), max_grad_norm: float | None = None) -> None:
        """Let the pruner read the gradients, and clip those of ``model`` after that, if to a norm at all.

        Raises ``ValueError`` when the step before was never closed.
        """
        if self.is_open:
            raise ValueError(f"step {self.num_steps}: gradients must be read once for each optimizer step, got twice")
        self.pruner.before_optimizer_step(self.num_steps)
        self.is_open = True
        if max_grad_norm is not None:
            nn.utils.clip_grad_norm_(model, max_grad_norm)

    def after(self, lr: float) -> None:
        """Let the pruner mask the new weights, and count the step; ``ValueError`` when none was begun."""
        if not self.is_open:
            raise ValueError(f"step {self.num_steps}: gradients must be read before the optimizer steps, got none read")
        self.pruner.after_optimizer_step(self.num_steps, lr)
        self.is_open = False
        self.num_steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the pruner's state and how many steps were done."""
        return {"pruner": self.pruner.state_dict(), "num_steps": self.num_steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned; raises ``ValueError`` when it does not fit the pruner."""
        missing = [key for key in KEYS if key not in state]
        if missing:
            raise ValueError(f"the saved state does not fit: missing {missing}; was it saved without a pruner?")
        self.pruner.load_state_dict(state["pruner"])
        self.num_steps = int(state["num_steps"])
        self.is_open = False


def learning_rate(optimizer: torch.optim.Optimizer, pruner: Pruner) -> float:
    """Return that of the first group; 0 where the optimizer finds its own, as Adafactor does.

    Raises ``ValueError`` where the pruner's group lasso needs it.
    """
    lr = optimizer.param_groups[0]["lr"]
    if lr is None and getattr(getattr(pruner, "config", None), "group_lasso", 0.0) > 0:
        raise ValueError("optimizer: must say its learning rate for group_lasso, got None")
    return 0.0 if lr is None else float(lr)


def drop_overflow(parameters: Iterable[nn.Parameter]) -> None:
    """Zero all gradients if one of them is not finite, as after an overflow in fp16: the update will be skipped."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients and not torch.isfinite(nn.utils.get_total_norm(gradients)):
        for gradient in gradients:
            gradient.zero_()
