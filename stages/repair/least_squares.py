"""The closed form of the repair: sums over tokens, gathered batch by batch, and the change of weight they ask for."""

from __future__ import annotations

import torch
from torch import Tensor


class Sums:
    """What least squares need to know of inputs ``x`` and residuals ``r``: their sums, and those of ``xᵀx``, ``xᵀr``.

    The memory does not grow with the tokens added. Inputs are taken relative to the mean of the first batch, so that
    nothing cancels when their mean is large beside their spread.
    """

    def __init__(self, inputs: Tensor, residuals: Tensor) -> None:
        self._origin = inputs.mean(dim=0)
        self._count = 0
        self._x = torch.zeros_like(self._origin)
        self._r = torch.zeros_like(residuals[0])
        self._xx = inputs.new_zeros(inputs.shape[1], inputs.shape[1])
        self._xr = inputs.new_zeros(inputs.shape[1], residuals.shape[1])

    def add(self, inputs: Tensor, residuals: Tensor) -> None:
        """Add tokens: ``inputs`` ``(tokens, kept columns)``, ``residuals`` ``(tokens, outputs)``."""
        centred = inputs - self._origin
        self._count += len(inputs)
        self._x += centred.sum(dim=0)
        self._r += residuals.sum(dim=0)
        self._xx.addmm_(centred.T, centred)
        self._xr.addmm_(centred.T, residuals)

    def solve(self, ridge: float, *, has_bias: bool = True) -> tuple[Tensor, Tensor]:
        """Return the changes of weight ``D`` ``(outputs, kept columns)`` and bias ``d`` ``(outputs,)``, in float64.

        They minimise ``Σ ‖r - D x - d‖² + δ ‖D‖²`` over the tokens, ``δ`` being ``ridge`` times the mean over columns
        of ``Σ x²``; so ``Σ ‖r - D x - d‖²`` never exceeds ``Σ ‖r‖²``. Without a bias ``d`` is zero.
        """
        count = self._count
        x, r, xx, xr = (each.double() for each in (self._x, self._r, self._xx, self._xr))
        origin = self._origin.double()
        if has_bias:
            square, cross = xx - torch.outer(x, x) / count, xr - torch.outer(x, r) / count
        else:
            shift = torch.outer(origin, x)
            square, cross = xx + shift + shift.T + count * torch.outer(origin, origin), xr + torch.outer(origin, r)
        change = _ridge_solve(square, cross, ridge).T
        if not has_bias:
            return change, torch.zeros_like(r)
        return change, r / count - change @ (origin + x / count)


def _ridge_solve(square: Tensor, cross: Tensor, ridge: float) -> Tensor:
    """Return ``(square + δI)⁻¹ cross``, with ten times the ``δ`` as often as rounding needs it to have an inverse.

    Zero where the inputs never move, which nothing can be learnt from.
    """
    scale = square.diagonal().mean() if len(square) else square.sum()
    if not scale > 0:
        return torch.zeros_like(cross)
    identity = torch.eye(len(square), dtype=square.dtype, device=square.device)
    while True:
        factor, failed = torch.linalg.cholesky_ex(square + ridge * scale * identity)
        if not failed:
            return torch.cholesky_solve(cross, factor)
        ridge *= 10
