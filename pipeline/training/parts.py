"""The parts of a half-done stage's state, each a dictionary of tensors that is read back strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from pipeline.surgery.cut_in_place import cut_in_place
from pipeline.training import randomness
from pipeline.training.processes import Processes
from pipeline.training.pruner import CutsWhileTraining, Pruner

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
SEEN = "seen"
"""What the optimizer has besides of a parameter that it updates by rows: the step at which each last was."""


class Part(Protocol):
    """One part of the state: what it holds, and how that is put back."""

    def state(self) -> dict[str, Tensor]:
        """Return the tensors to save."""

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put back what ``state`` returned; raises ``ValueError`` when a name, a shape or a dtype does not fit."""


def check_tensors(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError`` unless ``state`` has the names, shapes and dtypes of ``expected``."""
    if missing := sorted(expected.keys() - state.keys()):
        raise ValueError(f"tensor {missing[0]} is missing")
    if extra := sorted(state.keys() - expected.keys()):
        raise ValueError(f"tensor {extra[0]} belongs to nothing")
    for name, tensor in state.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise ValueError(
                f"tensor {name} must be {wanted.dtype} of shape {tuple(wanted.shape)}, "
                f"got {tensor.dtype} of shape {tuple(tensor.shape)}"
            )


def named_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and saved buffers by name, each once: a tied weight under its first name."""
    seen: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        seen.setdefault(id(tensor), name)
    firsts = set(seen.values())
    return {name: tensor.detach() for name, tensor in model.state_dict().items() if name in firsts}


def is_finite(state: Mapping[str, Tensor]) -> bool:
    """Say whether every number is finite; waits for the device."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in state.values() if tensor.is_floating_point())


class Weights:
    """The model's weights, written into the memory they already have, so that its alignment stays what it was."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def state(self) -> dict[str, Tensor]:
        """Return parameters and buffers as they are between two steps: masked, if there is a pruner."""
        return named_weights(self.model)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Write ``state`` into the model."""
        own = named_weights(self.model)
        check_tensors(state, own)
        for name, tensor in state.items():
            own[name].copy_(tensor)


class Moments:
    """The optimizer's moments by the names of their parameters; a parameter without a gradient so far has none."""

    def __init__(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        self.optimizer = optimizer
        self.parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}

    def state(self) -> dict[str, Tensor]:
        """Return step count, first and second moment of each parameter."""
        return {
            f"{moment}.{name}": self.optimizer.state[parameter][moment]
            for name, parameter in self.parameters.items()
            if parameter in self.optimizer.state
            for moment in self._moments(parameter)
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Give the optimizer copies of ``state``."""
        learned = [name for name in self.parameters if f"step.{name}" in state]
        expected = {
            f"{moment}.{name}": _like(moment, self.parameters[name])
            for name in learned
            for moment in self._moments(self.parameters[name])
        }
        check_tensors(state, expected)
        for name in learned:
            parameter = self.parameters[name]
            self.optimizer.state[parameter] = {
                moment: state[f"{moment}.{name}"].to(parameter.device, copy=True) for moment in self._moments(parameter)
            }

    def _moments(self, parameter: nn.Parameter) -> tuple[str, ...]:
        by_rows = SEEN in self.optimizer.state.get(parameter, {})
        return (*MOMENTS, SEEN) if by_rows else MOMENTS


def _like(moment: str, parameter: nn.Parameter) -> Tensor:
    """Return a tensor of the shape and dtype that ``moment`` of ``parameter`` has."""
    if moment == "step":
        return torch.empty(())
    return torch.empty(len(parameter), dtype=torch.int32) if moment == SEEN else parameter.detach()


class PrunerState:
    """What the pruner says it needs; nothing without one."""

    def __init__(self, pruner: Pruner | None, model: nn.Module) -> None:
        self.pruner = pruner
        self.model = model

    def state(self) -> dict[str, Tensor]:
        """Return the pruner's own state."""
        return {} if self.pruner is None else self.pruner.state_dict()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Hand the pruner copies of ``state``, and cut out of the model what was cut when it was saved."""
        if self.pruner is None:
            check_tensors(state, {})
        else:
            self.pruner.load_state_dict({name: tensor.clone() for name, tensor in state.items()})
            if isinstance(self.pruner, CutsWhileTraining):
                cut_in_place(self.model, self.pruner.in_place())


class Randomness:
    """The random generators of every process."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes

    def state(self) -> dict[str, Tensor]:
        """Return the state of the generators, ``(processes, …)``; every process must call it."""
        return {name: self.processes.stacked(tensor) for name, tensor in randomness.capture().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put this process's generators back."""
        own = {
            name: tensor.expand(self.processes.count, *tensor.shape) for name, tensor in randomness.capture().items()
        }
        check_tensors(state, own)
        randomness.restore({name: tensor[self.processes.index].clone() for name, tensor in state.items()})


class LossScale:
    """The scale of the loss in fp16; nothing in other precisions."""

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        self.scaler = scaler

    def state(self) -> dict[str, Tensor]:
        """Return the scale and the steps since it last changed."""
        values = self.scaler.state_dict()
        return {
            name: torch.tensor(values[name], dtype=torch.float64) for name in ("scale", "_growth_tracker") if values
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put the scale back."""
        check_tensors(state, self.state())
        if state:
            values = {"scale": float(state["scale"]), "_growth_tracker": int(state["_growth_tracker"])}
            self.scaler.load_state_dict({**self.scaler.state_dict(), **values})


class BestWeights:
    """The weights of the best epoch so far; empty until one was measured."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.weights: dict[str, Tensor] = {}

    def keep(self) -> None:
        """Take the model's weights as the best."""
        self.weights = {name: tensor.clone() for name, tensor in named_weights(self.model).items()}

    def put_back(self) -> None:
        """Write the best weights into the model, if there are any."""
        if self.weights:
            Weights(self.model).load(self.weights)

    def state(self) -> dict[str, Tensor]:
        """Return the best weights."""
        return self.weights

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take ``state`` as the best weights."""
        own = named_weights(self.model)
        check_tensors(state, own if state else {})
        self.weights = {name: tensor.to(own[name].device, copy=True) for name, tensor in state.items()}
