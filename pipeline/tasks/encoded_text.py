"""Tokenized rows in flat arrays, from which padded batches are cut in microseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Tokens:
    """The tokens of all rows end to end: row ``i`` is ``ids[starts[i]:starts[i + 1]]``; types likewise if made."""

    starts: np.ndarray
    ids: np.ndarray
    types: np.ndarray | None


def tokenize(tokenizer: Any, columns: Sequence[Sequence[str]], max_length: int) -> Tokens:
    """Return the tokens of each row of one or two columns, cut to ``max_length`` with its special tokens."""
    ids, types, lengths = [], [], []
    for start in range(0, len(columns[0]), ROWS_AT_ONCE):
        texts = [list(column[start : start + ROWS_AT_ONCE]) for column in columns]
        encoded = tokenizer(*texts, truncation=True, max_length=max_length, return_attention_mask=False)
        lengths.append(np.array([len(row) for row in encoded["input_ids"]], dtype=np.int64))
        ids.append(np.fromiter(chain.from_iterable(encoded["input_ids"]), dtype=np.int32))
        if "token_type_ids" in encoded:
            types.append(np.fromiter(chain.from_iterable(encoded["token_type_ids"]), dtype=np.uint8))
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.concatenate(lengths))])
    return Tokens(starts, np.concatenate(ids), np.concatenate(types) if types else None)


class EncodedText:
    """A split of tokenized rows; they are tokenized when their lengths or a batch are first asked for."""

    def __init__(self, name: str, encode: Callable[[], Tokens], labels: np.ndarray, pad_token_id: int) -> None:
        self.name = name
        self._encode = encode
        self._labels = torch.from_numpy(labels)
        self._pad_token_id = pad_token_id

    def __len__(self) -> int:
        return len(self._labels)

    @cached_property
    def lengths(self) -> np.ndarray | None:
        """Tokens per row, ``(rows,)``."""
        return np.diff(self._tokens.starts)

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return ids, mask and token types, ``(rows, longest)``, padded to the right, and labels, ``(rows,)``."""
        index = np.asarray(rows, dtype=np.int64)
        tokens = self._tokens
        starts, ends = tokens.starts[index], tokens.starts[index + 1]
        lengths = ends - starts
        is_token = np.arange(lengths.max()) < lengths[:, None]
        spans = [slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        batch = {
            "input_ids": _fill(tokens.ids, spans, is_token, self._pad_token_id),
            "attention_mask": torch.from_numpy(is_token.astype(np.int64)),
        }
        if tokens.types is not None:
            batch["token_type_ids"] = _fill(tokens.types, spans, is_token, 0)
        batch["labels"] = self._labels[torch.from_numpy(index)]
        return batch

    @cached_property
    def _tokens(self) -> Tokens:
        return self._encode()


def _fill(values: np.ndarray, spans: list[slice], is_token: np.ndarray, padding: int) -> Tensor:
    padded = np.full(is_token.shape, padding, dtype=np.int64)
    padded[is_token] = np.concatenate([values[span] for span in spans])
    return torch.from_numpy(padded)
