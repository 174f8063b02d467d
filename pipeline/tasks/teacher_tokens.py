"""Whether a teacher reads the rows as the model does: both are fed the same encoded ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from pipeline.errors import DataError
from pipeline.tasks.encoded_text import Tokens, tokenize

logger = logging.getLogger(__name__)

NUM_SHOWN = 6


def check_same_tokens(
    tokenizer: Any, teacher: Any, columns: Sequence[Sequence[str]], max_length: int, *, whose: str
) -> None:
    """Raise ``DataError`` when the ``teacher`` tokenizer makes other ids of a row of ``columns`` than ``tokenizer``.

    A teacher that tells two texts apart by token types, which ``tokenizer`` does not make, is named in a warning.
    """
    mine, theirs = (tokenize(each, columns, max_length) for each in (tokenizer, teacher))
    for row in range(len(columns[0])):
        own, other = _ids(mine, row), _ids(theirs, row)
        if own != other:
            raise DataError(
                f"teacher: {whose} must have the model's tokenizer, but reads row {row + 1} of the training split as "
                f"{_shown(other)} where the model reads {_shown(own)}; name a teacher of the model's vocabulary"
            )
    if mine.types is None and theirs.types is not None and theirs.types.any():
        logger.warning(
            "teacher: %s tells two texts apart by token types, which the model's tokenizer does not make: it reads "
            "both as the first, which may make it a worse teacher",
            whose,
        )


def _ids(tokens: Tokens, row: int) -> list[int]:
    return [int(token) for token in tokens.ids[tokens.starts[row] : tokens.starts[row + 1]]]


def _shown(ids: Sequence[int]) -> str:
    return f"[{', '.join(map(str, ids[:NUM_SHOWN]))}{', …' if len(ids) > NUM_SHOWN else ''}]"
