"""The device and the processes that accelerate finds, and the few things they do together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather, parse_flag_from_env, reduce
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.errors import CompressionError


def launched() -> PartialState:
    """Return what ``accelerate launch`` set up; unlike a bare ``PartialState`` it heeds a launch on the CPU."""
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


class Processes:
    """This process among those that ``accelerate launch`` started; one alone if it was not used.

    Unlike an ``Accelerator`` it does not carry a precision: an ``Accelerator`` allows one per Python process, where
    every stage chooses its own, and writes its autocast into the model, where an evaluation between steps would find
    it.
    """

    def __init__(self) -> None:
        state = launched()
        self.device: torch.device = state.device
        self.count: int = state.num_processes
        self.index: int = state.process_index
        self.is_main: bool = state.is_main_process

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model that averages its gradients over all processes: the model itself where there is one."""
        if self.count == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True)

    def reduces(self, model: nn.Module, *, now: bool) -> AbstractContextManager[None]:
        """Return a context whose backward pass reduces the gradients ``now``, or only adds them up locally."""
        if isinstance(model, DistributedDataParallel) and not now:
            return model.no_sync()
        return nullcontext()

    def largest(self, value: int) -> int:
        """Return the largest ``value`` that any process brings."""
        if self.count == 1:
            return value
        return int(reduce(torch.tensor(value, device=self.device), reduction="max").item())

    def stacked(self, tensor: Tensor) -> Tensor:
        """Return every process's ``tensor``, ``(processes, *shape)``, on the CPU."""
        if self.count == 1:
            return tensor.unsqueeze(0)
        gathered: Tensor = gather(tensor.unsqueeze(0).to(self.device)).cpu()
        return gathered

    def from_main(self, value: str) -> str:
        """Return the main process's ``value``."""
        values = [value]
        broadcast_object_list(values)
        return values[0]

    def on_main(self, act: Callable[[], str]) -> str:
        """Return what ``act`` returns in the main process, for which the others wait; where it fails, all stop."""
        if self.count == 1:
            return act()
        failure: BaseException | None = None
        outcome = ""
        if self.is_main:
            try:
                outcome = act()
            except BaseException as error:  # the others must not wait for an answer that never comes
                failure = error
        told = self.from_main("failed" if failure else f"did {outcome}")
        if failure is not None:
            raise failure
        if told == "failed":
            raise CompressionError("the main process could not go on; it says why")
        return told.removeprefix("did ")

    def wait(self) -> None:
        """Wait until every process is here."""
        launched().wait_for_everyone()
