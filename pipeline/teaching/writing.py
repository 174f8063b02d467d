"""One pass of the teacher over the training split, its answers appended to files as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from pipeline import interruption
from pipeline.artifacts.commit import commit, discard_candidate, new_candidate, writing
from pipeline.artifacts.sealed import seal
from pipeline.teaching.answers import FORMAT, HIDDEN, PLACES, PROJECTIONS, Column, Taught
from pipeline.training.batches import by_length

if TYPE_CHECKING:
    from pipeline.tasks.task import Split

BATCH_ROWS = 32
"""Rows of a forward pass: always as many, so that a pass made again gives the same bits."""

Ask = Callable[[Sequence[int]], tuple[Taught, Tensor]]
"""From rows of the split to the teacher's answers, and which tokens are real, ``(rows, tokens)`` bool."""


def columns_of(split: Split, ask: Ask, hidden_dtype: torch.dtype) -> list[Column]:
    """Return what there is to store: logits in float32, what layers put out in ``hidden_dtype``; asks for two rows.

    Logits are per token where the longest row has others in shape than the shortest.
    """
    lengths = split.lengths
    longest, shortest = (0, 0) if lengths is None else (int(lengths.argmax()), int(lengths.argmin()))
    taught, other = ask([longest])[0], ask([shortest])[0]
    columns = []
    for index, (logits, less) in enumerate(zip(taught.logits, other.logits, strict=True)):
        per_token = logits.shape != less.shape
        shape = tuple(logits.shape[2:] if per_token else logits.shape[1:])
        columns.append(Column(f"logits_{index}", shape, torch.float32, per_token))
    for name, layers in ((HIDDEN, taught.hidden), (PROJECTIONS, taught.projections)):
        if layers:
            columns.append(Column(name, (len(layers), layers[0].shape[-1]), hidden_dtype, per_token=True))
    return columns


def answers_bytes(columns: Sequence[Column], split: Split, ask: Ask) -> int:
    """Return the bytes that the answers to the whole split take."""
    tokens = len(split) * int(ask([0])[1].sum()) if split.lengths is None else int(split.lengths.sum())
    return sum(column.record_bytes * (tokens if column.per_token else len(split)) for column in columns)


def write_answers(folder: Path, split: Split, ask: Ask, columns: Sequence[Column]) -> None:
    """Ask for every row of ``split`` and make ``folder`` of the answers, by rename, the manifest last.

    Raises ``ArtifactError`` when the disk refuses, ``Interrupted`` on a signal; either way nothing is left behind.
    """
    candidate = new_candidate(folder)
    try:
        with writing(folder):
            counts, order = _append(candidate, split, ask, columns)
            starts = np.empty_like(counts)
            starts[order] = np.concatenate([[0], np.cumsum(counts[order])[:-1]])
            place = np.empty_like(order)
            place[order] = np.arange(len(order))
            places = {"order": place, "starts": starts, "counts": counts}
            save_file({name: torch.from_numpy(values) for name, values in places.items()}, candidate / PLACES)
            sizes = {path.name: path.stat().st_size for path in sorted(candidate.iterdir())}
        document: dict[str, Any] = {"format": FORMAT, "columns": [column.to_json() for column in columns]}
        commit(candidate, folder, seal({**document, "sizes": sizes}))
    finally:
        discard_candidate(folder)


def _append(
    folder: Path, split: Split, ask: Ask, columns: Sequence[Column]
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Write the records of each batch behind those before it; return every row's tokens, and the order of the rows."""
    counts = np.zeros(len(split), dtype=np.int64)
    batches = by_length(len(split), split.lengths, BATCH_ROWS)
    with ExitStack() as stack:
        files = [stack.enter_context((folder / column.file).open("wb")) for column in columns]
        for rows in batches:
            interruption.check()
            taught, mask = ask(rows)
            counts[rows] = mask.sum(dim=1).cpu().numpy()
            for column, file in zip(columns, files, strict=True):
                file.write(_stored(_records(column, taught, mask), column).data)
    return counts, np.concatenate([np.asarray(rows, dtype=np.int64) for rows in batches])


def _records(column: Column, taught: Taught, mask: Tensor) -> Tensor:
    """Return the column's records of a batch, ``(records, *shape)``, tokens row by row and without padding."""
    if column.name in (HIDDEN, PROJECTIONS):
        layers = taught.hidden if column.name == HIDDEN else taught.projections
        return torch.stack([layer.to(column.dtype) for layer in layers], dim=2)[mask]
    logits = taught.logits[int(column.name.rpartition("_")[2])].to(column.dtype)
    return logits[mask] if column.per_token else logits


def _stored(records: Tensor, column: Column) -> np.ndarray[Any, Any]:
    contiguous = records.contiguous().cpu()
    whole: np.ndarray[Any, Any] = (
        contiguous.view(torch.int16) if column.dtype == torch.bfloat16 else contiguous
    ).numpy()
    return whole
