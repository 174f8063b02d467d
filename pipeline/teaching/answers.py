"""Answers of a teacher as they lie on the disk: per row or per real token, end to end, read into padded tensors."""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.artifacts.commit import MANIFEST
from pipeline.artifacts.sealed import read_sealed

FORMAT = 1
PLACES = "places.safetensors"
HIDDEN = "hidden"
PROJECTIONS = "projections"
STORED: dict[torch.dtype, type[np.generic]] = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.bfloat16: np.int16,
}
"""What each type is stored as; numpy has no bfloat16, so that its bits go as integers."""
UNLIKELY = -1e4
"""The logit of a position that is padding and was not stored: its probability is 0, and its logarithm finite."""


@dataclass(frozen=True)
class Taught:
    """What a teacher says to a batch: its logits as the task gives them, and what each of its layers put out.

    A layer's output is ``(rows, tokens, width)``; there are none where they were not asked for. ``projections`` are
    those asked for of the queries, keys and values of one layer, in this order, ``(rows, tokens, heads * width)``.
    """

    logits: tuple[Tensor, ...]
    hidden: tuple[Tensor, ...] = ()
    projections: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Column:
    """One kind of number in the answers: a record of ``shape`` in ``dtype`` for each row, or for each real token.

    Records of tokens lie row by row, so that a row of hidden states, ``(tokens, layers, width)``, is one read.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    per_token: bool

    @property
    def numbers(self) -> int:
        """Numbers in a record."""
        return math.prod(self.shape)

    @property
    def record_bytes(self) -> int:
        """Bytes of a record."""
        return self.numbers * self.dtype.itemsize

    @property
    def file(self) -> str:
        """The file of its records."""
        return f"{self.name}.bin"

    def to_json(self) -> dict[str, Any]:
        """Return the fields, the type by its name."""
        return {**asdict(self), "shape": list(self.shape), "dtype": str(self.dtype).removeprefix("torch.")}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Column:
        """Return what ``to_json`` wrote down."""
        dtype = getattr(torch, document["dtype"])
        return cls(document["name"], tuple(document["shape"]), dtype, document["per_token"])


class Answers:
    """The answers in one folder, for any rows of the split in any order.

    Files stay open, so that they may be deleted meanwhile, and are mapped for the time of one reading: what was read
    before counts to the page cache, and not to the memory of this process.
    """

    def __init__(self, folder: Path) -> None:
        document = read_sealed(folder / MANIFEST)
        places = load_file(folder / PLACES)
        self.folder = folder
        self.columns = [Column.from_json(column) for column in document["columns"]]
        self._order = places["order"].numpy()
        self._starts = places["starts"].numpy()
        self._ends = self._starts + places["counts"].numpy()
        self._handles = {column.name: os.open(folder / column.file, os.O_RDONLY) for column in self.columns}
        weakref.finalize(self, _close, tuple(self._handles.values()))

    @classmethod
    def are_at(cls, folder: Path) -> bool:
        """Say whether ``folder`` holds answers, and whole: the manifest was written last, and tells the sizes."""
        document = read_sealed(folder / MANIFEST)
        sizes = document.get("sizes", {})
        return document.get("format") == FORMAT and all(_size(folder / name) == size for name, size in sizes.items())

    def read(self, rows: Sequence[int], mask: Tensor | None, device: torch.device) -> Taught:
        """Return the answers to ``rows`` on ``device``, padded as ``mask``, ``(rows, tokens)``, says.

        Without a mask all tokens are real, and all rows have as many. Hidden states and projections are 0 where there
        is padding.
        """
        index = np.asarray(rows, dtype=np.int64)
        logits: list[Tensor] = []
        layers: dict[str, tuple[Tensor, ...]] = {}
        for column in self.columns:
            records = self._take(column, index).to(device, non_blocking=True)
            if column.name in (HIDDEN, PROJECTIONS):
                layers[column.name] = _padded(records, len(index), mask, 0.0).unbind(2)
            elif column.per_token:
                logits.append(_padded(records, len(index), mask, 0.0 if column.shape else UNLIKELY))
            else:
                logits.append(records)
        return Taught(tuple(logits), **layers)

    def _take(self, column: Column, index: np.ndarray) -> Tensor:
        """Return the records of the rows at ``index``, ``(records, *shape)``, in memory of their own."""
        starts = self._starts[index] if column.per_token else self._order[index]
        ends = self._ends[index] if column.per_token else starts + 1
        with mmap.mmap(self._handles[column.name], 0, access=mmap.ACCESS_READ) as mapped:
            records = np.frombuffer(mapped, dtype=STORED[column.dtype]).reshape(-1, column.numbers)
            taken = np.concatenate([records[start:end] for start, end in zip(starts, ends, strict=True)])
            del records  # a map can only be given back when nothing looks into it
        return torch.from_numpy(taken).view(column.dtype).view(-1, *column.shape)


def _padded(records: Tensor, num_rows: int, mask: Tensor | None, padding: float) -> Tensor:
    """Return records of tokens as ``(rows, tokens, *shape)``."""
    if mask is None:
        return records.view(num_rows, -1, *records.shape[1:])
    padded = records.new_full((*mask.shape, *records.shape[1:]), padding)
    padded[mask] = records
    return padded


def _close(handles: tuple[int, ...]) -> None:
    for handle in handles:
        os.close(handle)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1
