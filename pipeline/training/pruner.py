"""What the loop asks of a pruner: a few calls around the optimizer step, and a state that can be saved."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from pipeline.surgery.keep_plan import KeepPlan


class Pruner(Protocol):
    """Decides what to remove from raw weights and their gradients, and writes its masks into the parameters.

    Between two optimizer steps the parameters hold the masked weights ``M ⊙ W_raw``; around the step the pruner
    reads the gradients, puts the raw weights back, lets the optimizer step, and masks again.
    """

    def before_optimizer_step(self, step: int) -> None:
        """Read the gradients of ``step`` (from 0; reduced and unscaled, not yet clipped) and restore raw weights."""

    def after_optimizer_step(self, step: int, lr: float) -> None:
        """Keep the new raw weights, update the masks for ``step + 1``, and write masked weights."""

    def finish(self) -> KeepPlan | None:
        """Decide for good: restore what is kept, and return the units kept (None for a pruner of single weights)."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return every tensor a resume needs, each under its own name; what follows from the step is left out."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned; raises ``ValueError`` when a name or a shape does not fit."""

    def logs(self) -> dict[str, float]:
        """Return numbers for the log of this step, such as the share removed."""


@runtime_checkable
class CutsWhileTraining(Pruner, Protocol):
    """A pruner of units that never come back, which may leave the model before the end; a loop need not know of it.

    What ``finish`` returns counts in the model that the pruner was built for.
    """

    def take_cut(self) -> KeepPlan | None:
        """Return which units of the model as it is stay in it; None: all.

        Whoever takes a plan cuts the model by it at once: from then on the pruner expects the parameters, the same
        objects, at that width. To be asked after ``after_optimizer_step``, where every unit to go is masked.
        """

    def in_place(self) -> KeepPlan:
        """Return which units are in the model, of those it had when the pruner was built.

        After ``load_state_dict`` it is for the caller to bring a whole model to that width.
        """


@runtime_checkable
class PrunesWeights(Pruner, Protocol):
    """A pruner of single weights, which reads and masks whole parameters."""

    def parameter_names(self) -> frozenset[str]:
        """Return the names, in the model, of the parameters whose gradients it reads and whose weights it masks."""
