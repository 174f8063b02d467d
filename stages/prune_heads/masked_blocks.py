"""Blocks of a weight that are zero while training, and the raw values behind them."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.unit_weights import UnitWeight


class MaskedBlocks:
    """One weight cut into blocks of ``(rows, columns)``, some of them masked: ``W' = M ⊙ W_raw``.

    The parameter holds the raw weight between ``restore`` and ``mask``, the masked one otherwise; of the raw weight
    only what lies under the mask is kept apart. A masked block is frozen: it has no gradient, and what momentum and
    decay do to it is undone, so that it comes back as it went.
    """

    def __init__(self, weight: UnitWeight, block: tuple[int, int]) -> None:
        self.weight = weight
        self._block = block
        rows, columns = weight.weight().shape
        self.shape = (rows // block[0], columns // block[1])
        """Blocks along the units and along the other axis."""
        device = weight.parameter.device
        self.dead = torch.zeros(self.shape, dtype=torch.bool, device=device)
        self.raw = torch.zeros((0, *block), dtype=weight.parameter.dtype, device=device)
        """The values under the mask, ``(masked blocks, rows, columns)``, in the order of ``dead.nonzero()``."""
        self._index = self.dead.nonzero(as_tuple=True)

    def movement(self) -> Tensor | None:
        """Return ``Σ_B W ⊙ dL/dW`` for every block, in the shape ``shape``; the raw weight must be in place."""
        gradient = self.weight.gradient()
        if gradient is None:
            return None
        return self._blocks(self.weight.weight() * gradient).sum(dim=(2, 3), dtype=torch.float32)

    def freeze(self) -> None:
        """Zero the gradients of masked blocks, ``dL/dW = M ⊙ dL/dW'``: they count in no norm and move nothing."""
        gradient = self.weight.gradient()
        if gradient is not None and len(self.raw):
            self._blocks(gradient)[self._index] = 0

    def restore(self) -> None:
        """Put the raw values back; also undoes whatever the optimizer did to masked blocks."""
        if len(self.raw):
            weight = self.weight.weight()
            self._blocks(weight)[self._index] = self.raw.to(weight.dtype)

    def mask(self, dead: Tensor) -> None:
        """Mask exactly the blocks of ``dead``, a bool tensor of ``shape``; those no longer in it come back."""
        blocks = self._blocks(self.weight.weight())
        if not torch.equal(dead, self.dead):
            self.restore()
            self.dead = dead.clone()
            self._index = dead.nonzero(as_tuple=True)
            self.raw = blocks[self._index]
        if len(self.raw):
            blocks[self._index] = 0

    def load(self, dead: Tensor, raw: Tensor) -> None:
        """Take over a saved mask and the raw values under it; the parameter is restored by whoever saved it."""
        if dead.shape != self.dead.shape or raw.shape != (int(dead.sum()), *self._block):
            raise ValueError(
                f"the saved mask of {self.weight.path} does not fit: it must be {self.shape} blocks of {self._block}, "
                f"got {tuple(dead.shape)} with raw values {tuple(raw.shape)}"
            )
        self.dead = dead.to(self.weight.parameter.device, copy=True)
        self.raw = raw.to(self.weight.parameter.device, self.weight.parameter.dtype, copy=True)
        self._index = self.dead.nonzero(as_tuple=True)

    def to_parameter_device(self) -> None:
        """Follow the parameter to its device."""
        device = self.weight.parameter.device
        self.dead, self.raw = self.dead.to(device), self.raw.to(device)
        self._index = self.dead.nonzero(as_tuple=True)

    def _blocks(self, tensor: Tensor) -> Tensor:
        """Return a view ``(*shape, rows, columns)``."""
        return tensor.view(self.shape[0], self._block[0], self.shape[1], self._block[1]).transpose(1, 2)
