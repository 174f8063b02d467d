"""Which rows make which batch: seeded by epoch, open to any index, with no state and no global random generator."""

from __future__ import annotations

from typing import Any

import numpy as np

Lengths = np.ndarray[Any, np.dtype[np.int64]]


class Batches:
    """The batches of every epoch, as indices of rows.

    The rows of an epoch are shuffled, taken in pools of ``pool`` batches, sorted by length inside each pool, cut into
    batches, and the batches shuffled. Without ``lengths``, or with ``pool`` 1, nothing is sorted. Every row is seen
    once an epoch; the last batch cut may be short. ``num_processes`` processes take every so-manieth batch, and begin
    the order again where it does not divide, so that all of them make the same number of steps.
    """

    def __init__(
        self,
        num_rows: int,
        *,
        batch_size: int,
        seed: int,
        lengths: Lengths | None = None,
        pool: int = 50,
        process_index: int = 0,
        num_processes: int = 1,
    ) -> None:
        if num_rows < 1 or batch_size < 1 or pool < 1:
            raise ValueError(f"num_rows, batch_size and pool must be positive, got {num_rows}, {batch_size}, {pool}")
        if lengths is not None and len(lengths) != num_rows:
            raise ValueError(f"lengths must hold one entry for each of {num_rows} rows, got {len(lengths)}")
        self.num_rows = num_rows
        self.batch_size = batch_size
        self.seed = seed
        self.lengths = lengths if pool > 1 else None
        self.pool = pool
        self.process_index = process_index
        self.num_processes = num_processes
        self._cached: tuple[int, list[list[int]]] | None = None

    def __len__(self) -> int:
        """Return the batches of one epoch that one process takes."""
        whole = -(-self.num_rows // self.batch_size)
        return -(-whole // self.num_processes)

    def rows(self, epoch: int, index: int) -> list[int]:
        """Return the rows of batch ``index`` of ``epoch``, both counted from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"an epoch has {len(self)} batches, got index {index}")
        batches = self.epoch(epoch)
        return batches[(index * self.num_processes + self.process_index) % len(batches)]

    def epoch(self, epoch: int) -> list[list[int]]:
        """Return all batches of ``epoch`` in order, those of every process together; the last one asked is kept."""
        if self._cached is None or self._cached[0] != epoch:
            self._cached = (epoch, self._order(epoch))
        return self._cached[1]

    def middling(self) -> list[int]:
        """Return a batch of the first epoch of middling length, to time a step on."""
        if self.lengths is None:
            return self.epoch(0)[0]
        lengths = self.lengths
        ordered = sorted(self.epoch(0), key=lambda rows: int(lengths[rows].max()))
        return ordered[len(ordered) // 2]

    def _order(self, epoch: int) -> list[list[int]]:
        generator = np.random.default_rng((self.seed, epoch))
        shuffled = generator.permutation(self.num_rows)
        if self.lengths is not None:
            size = self.pool * self.batch_size
            pools = [shuffled[start : start + size] for start in range(0, self.num_rows, size)]
            shuffled = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        cuts = [shuffled[start : start + self.batch_size] for start in range(0, self.num_rows, self.batch_size)]
        return [cuts[index].tolist() for index in generator.permutation(len(cuts))]


def padding_share(batches: list[list[int]], lengths: Lengths) -> float:
    """Return the share of tokens that are padding when each batch is padded to its longest row."""
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    real = sum(int(lengths[rows].sum()) for rows in batches)
    return 1.0 - real / padded


def by_length(num_rows: int, lengths: Lengths | None, batch_size: int) -> list[list[int]]:
    """Return the rows in batches of about equal length, longest first (so that too little memory shows at once)."""
    order = np.arange(num_rows) if lengths is None else np.argsort(-lengths, kind="stable")
    return [order[start : start + batch_size].tolist() for start in range(0, num_rows, batch_size)]
