"""Preprocessed images: in one array where they fit, else made again for each batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGEST_ARRAY = 2 * 1024**3
"""Bytes of float32 pixels that one split may hold in memory."""
ROWS_AT_ONCE = 256


class EncodedImages:
    """A split of images; they are preprocessed when a batch is first asked for."""

    def __init__(
        self,
        name: str,
        encode: Callable[[Sequence[int]], np.ndarray],
        labels: np.ndarray,
        largest_array: int = LARGEST_ARRAY,
    ) -> None:
        self.name = name
        self.lengths: np.ndarray | None = None
        self._encode = encode
        self._labels = torch.from_numpy(labels)
        self._largest_array = largest_array

    def __len__(self) -> int:
        return len(self._labels)

    @cached_property
    def pixel_shape(self) -> tuple[int, ...]:
        """Channels, height and width after preprocessing."""
        return tuple(self._encode([0]).shape[1:])

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return pixels, ``(rows, channels, height, width)`` float32, and labels, ``(rows,)``."""
        index = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        pixels = self._pixels
        values = torch.from_numpy(self._encode(index.tolist())) if pixels is None else pixels[index]
        return {"pixel_values": values, "labels": self._labels[index]}

    @cached_property
    def _pixels(self) -> Tensor | None:
        """All pixels, ``(rows, channels, height, width)``; None when they take more memory than is allowed."""
        shape: Any = (len(self), *self.pixel_shape)
        if 4 * np.prod(shape, dtype=np.int64) > self._largest_array:
            return None
        pixels = np.empty(shape, dtype=np.float32)
        for start in range(0, len(self), ROWS_AT_ONCE):
            rows = range(start, min(start + ROWS_AT_ONCE, len(self)))
            pixels[rows.start : rows.stop] = self._encode(rows)
        return torch.from_numpy(pixels)
