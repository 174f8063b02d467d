"""Saves and restores a half-done stage: its parts, its position, and the log that goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pipeline.errors import CompressionError
from pipeline.training.metrics_log import MetricsLog
from pipeline.training.parts import Part, is_finite
from pipeline.training.position import Position
from pipeline.training.processes import Processes
from pipeline.training.resume import Checkpoints, damaged, size_bytes
from pipeline.training.window import Window

RESTORED = ("pruner", "weights", "optimizer", "random", "scale", "best", "position")
"""Every part of the state that a resume puts back; leave one out, and the final weights are others.

The pruner comes first: it knows the width of the weights.
"""


class HalfDone:
    """The state of a stage between two steps, on disk and in memory.

    ``identity`` says which training it is (seed, steps, rows …); a save of another one is refused.
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        position: Position,
        window: Window,
        log: MetricsLog,
        *,
        checkpoints: Checkpoints,
        processes: Processes,
        identity: Mapping[str, Any],
    ) -> None:
        self.parts = parts
        self.position = position
        self.window = window
        self.log = log
        self.checkpoints = checkpoints
        self.processes = processes
        self.identity = dict(identity)
        self._saved = (0, 0)
        self._size = 3 * size_bytes(parts["weights"].state())

    def is_due(self) -> bool:
        """Say whether as much time has passed as the settings ask for between two saves."""
        return self.checkpoints.seconds_until_due(self._size) <= 0

    def is_cheap(self) -> bool:
        """Say whether a save now would keep to the share of time that saves may take."""
        return self.checkpoints.is_cheap(self._size)

    def is_saved(self) -> bool:
        """Say whether the last save holds all that was done since."""
        return self._saved == (self.position.step, self.position.evaluated)

    def save(self) -> None:
        """Save everything, all processes together; raises ``CompressionError`` rather than save weights gone bad."""
        self.window.check_finite()
        states = {name: part.state() for name, part in self.parts.items()}
        if not is_finite(states["weights"]):
            raise CompressionError(
                f"the weights are not finite after step {self.position.step - 1}: lower learning_rate or set "
                "max_grad_norm; the last saved state of this stage is untouched"
            )
        if self.processes.is_main:
            tensors = {f"{part}.{name}": tensor for part, state in states.items() for name, tensor in state.items()}
            self.checkpoints.save(tensors, self._document())
        self.processes.wait()
        self._saved = (self.position.step, self.position.evaluated)

    def save_beginning(self) -> None:
        """Save the position before the first step, all processes together; the tensors are as any start makes them."""
        assert self.position.step == 0, "after a step there are tensors to save"
        if self.processes.is_main:
            self.checkpoints.save({}, self._document())
        self.processes.wait()

    def restore(self) -> bool:
        """Put the last save back, if there is one, and cut the log to it; ``ArtifactError`` if it cannot be."""
        loaded = self.checkpoints.load()
        if loaded is None:
            self.log.truncate(0)
            return False
        tensors, document = loaded
        try:
            self._check_identity(document["identity"])
            self._restore_parts(_by_part(tensors, self.parts), document)
        except ValueError as error:
            raise damaged(self.checkpoints.path(), f"the saved state does not fit this stage: {error}") from error
        return True

    def _document(self) -> dict[str, Any]:
        self.position.log_position = self.log.position()
        return {"position": self.position.to_json(), "window": self.window.to_json(), "identity": self.identity}

    def _restore_parts(self, states: Mapping[str, Mapping[str, Tensor]], document: Mapping[str, Any]) -> None:
        has_begun = document["position"]["step"] > 0
        for name in RESTORED:
            if name == "position":
                self.position.load(document["position"])
                self.window.load(document["window"])
            elif has_begun:
                self.parts[name].load(states[name])
        self.log.rewind(document["position"]["log_position"])
        self._saved = (self.position.step, self.position.evaluated)

    def _check_identity(self, saved: Mapping[str, Any]) -> None:
        for name, value in self.identity.items():
            if saved.get(name) != value:
                raise ValueError(f"it was begun with {name} {saved.get(name)}, now it is {value}")


def _by_part(tensors: Mapping[str, Tensor], parts: Mapping[str, Part]) -> dict[str, dict[str, Tensor]]:
    states: dict[str, dict[str, Tensor]] = {name: {} for name in parts}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part not in states:
            raise ValueError(f"tensor {name} belongs to nothing")
        states[part][rest] = tensor
    return states
