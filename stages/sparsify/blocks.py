"""How a weight falls into the blocks that become zero together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from stages.sparsify.pattern import KeptPattern, Pattern
from stages.sparsify.weights import MatrixWeight


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of one weight.

    ``rows`` by ``columns`` weights make a block (``columns`` counts every place of a convolution's kernel where the
    block is a whole row), of which ``loss`` become zero with it: all, or with N:M all but N. ``grid`` is the shape of
    a tensor with an entry for every block.
    """

    weight: MatrixWeight
    rows: int
    columns: int
    loss: int
    grid: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of blocks."""
        return math.prod(self.grid)

    @property
    def size(self) -> int:
        """The weights of a block."""
        return self.weight.parameter.numel() // self.count

    @property
    def is_partial(self) -> bool:
        """Whether weights of a removed block stay: N of its M."""
        return self.loss < self.size

    def view(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the parameter's shape with ``within`` dimensions for the places in a block, a view."""
        if self.size == 1:
            return tensor
        matrix = self.weight.matrix(tensor)
        rows, *kernel, columns = matrix.shape
        width = columns if self._is_whole_row else self.columns
        return matrix.view(rows // self.rows, self.rows, *kernel, columns // width, width)

    @property
    def within(self) -> tuple[int, ...]:
        """The dimensions of ``view`` that count places in a block; the others are those of ``grid``."""
        if self.size == 1:
            return ()
        kernel = self.weight.parameter.ndim - 2
        return tuple(range(1, kernel + 4)) if self._is_whole_row else (1, kernel + 3)

    def summed(self, tensor: Tensor) -> Tensor:
        """Return the sum over each block of a tensor of the parameter's shape, in the shape of ``grid``."""
        return self.view(tensor).sum(self.within) if self.within else tensor

    def spread(self, of_blocks: Tensor) -> Tensor:
        """Return a tensor of the shape of ``grid`` so that it broadcasts over ``view``."""
        for dimension in self.within:
            of_blocks = of_blocks.unsqueeze(dimension)
        return of_blocks

    @property
    def _is_whole_row(self) -> bool:
        return len(self.grid) == 1


def blocks_of(weight: MatrixWeight, pattern: Pattern) -> Blocks | None:
    """Return the blocks that ``pattern`` makes of a weight; None where it does not divide it."""
    shape = weight.matrix(weight.parameter).shape
    rows, columns, kernel = shape[0], shape[-1], tuple(shape[1:-1])
    if isinstance(pattern, KeptPattern):
        if columns % pattern.of:
            return None
        grid = (rows, *kernel, columns // pattern.of)
        return Blocks(weight, 1, pattern.of, pattern.of - pattern.kept, grid)
    high = pattern.rows or rows
    wide = pattern.columns or columns * math.prod(kernel)
    if rows % high or (pattern.columns and columns % wide):
        return None
    if high * wide == 1:
        return single_weights(weight)
    grid = (rows,) if pattern.columns is None else (rows // high, *kernel, columns // wide)
    return Blocks(weight, high, wide, high * wide, grid)


def single_weights(weight: MatrixWeight) -> Blocks:
    """Return blocks of one weight each, laid out as the parameter is."""
    return Blocks(weight, 1, 1, 1, tuple(weight.parameter.shape))
