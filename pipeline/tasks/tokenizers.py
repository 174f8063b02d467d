"""The tokenizer of a text task: an artifact's, the model source's, or one trained for a model from a config."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.tokenization import DEFAULT_VOCAB_SIZE, PAD, SPECIAL_TOKENS, tokenizer_files, train_wordpiece
from pipeline.errors import DataError
from pipeline.tasks.processor_files import (
    TOKENIZER_FILES,
    VOCABULARIES,
    check_place,
    name_class,
    read_folder,
    read_source,
    write_files,
)

if TYPE_CHECKING:
    from pipeline.recipe.sources import ModelSource

DEFAULT_POSITIONS = 512


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer, the files it is saved as, and what it decides of a model made from a config."""

    tokenizer: Any
    files: Mapping[str, bytes]
    config_fields: Mapping[str, Any]


def load_tokenizer(model: ModelSource, processor_dir: Path | None, texts: Callable[[], list[str]]) -> LoadedTokenizer:
    """Return the tokenizer of ``processor_dir``, else the model source's, else one trained on ``texts()``."""
    check_place(model, processor_dir, VOCABULARIES)
    if processor_dir is not None:
        files = read_folder(processor_dir, TOKENIZER_FILES)
        tokenizer = _read_tokenizer(str(processor_dir), model, is_artifact=True)
    elif model.config is None:
        tokenizer = _read_tokenizer(str(model.pretrained), model, is_artifact=False)
        files = read_source(model, TOKENIZER_FILES)
    else:
        files = _trained_files(model.config, texts())
        with tempfile.TemporaryDirectory(prefix="pruneline-tokenizer-") as folder:
            write_files(files, Path(folder))
            tokenizer = _read_tokenizer(folder, model, is_artifact=True)
    if VOCABULARIES.isdisjoint(files):
        raise DataError(f"model: the tokenizer of {model.pretrained} has none of {', '.join(sorted(VOCABULARIES))}")
    files = name_class(files, "tokenizer_config.json", "tokenizer_class", tokenizer)
    is_made = model.config is not None
    fields = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id} if is_made else {}
    return LoadedTokenizer(tokenizer, files, fields)


def find_tokenizer(model: ModelSource) -> Any | None:
    """Return the tokenizer beside a pretrained model; None where there is none that can be read."""
    if model.pretrained is None:
        return None
    try:
        check_place(model, None, VOCABULARIES)
        return _read_tokenizer(str(model.pretrained), model, is_artifact=False)
    except DataError:
        return None


def longest_input(model_type: str, positions: int | None, pad_token_id: int) -> int | None:
    """Return how many tokens a model with ``positions`` position embeddings takes; None when it has none."""
    if positions is None:
        return None
    # Roberta numbers its positions from the padding token's id on: 514 of them with padding 1 hold 512 tokens.
    return positions - pad_token_id - 1 if model_type.removeprefix("condensed-") == "roberta" else positions


def _read_tokenizer(place: str, model: ModelSource, *, is_artifact: bool) -> Any:
    from transformers import AutoTokenizer, PreTrainedConfig

    options: dict[str, Any] = {"trust_remote_code": model.trust_remote_code}
    if is_artifact:
        # An artifact names its tokenizer's class; its model's config, of a family of ours, has nothing to add.
        options["config"] = PreTrainedConfig()
    elif not model.is_folder:
        options["revision"] = model.revision
    try:
        return AutoTokenizer.from_pretrained(place, **options)
    except Exception as error:  # missing files, broken files and the network fail in their own ways
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"model: cannot load a tokenizer from {place}: {lines[0]}") from error


def _trained_files(config: Mapping[str, Any], texts: list[str]) -> dict[str, bytes]:
    vocab_size = config.get("vocab_size", DEFAULT_VOCAB_SIZE)
    least = len(SPECIAL_TOKENS) + 2
    if not isinstance(vocab_size, int) or vocab_size < least:
        raise DataError(f"model.config.vocab_size: must be an integer of at least {least}, got {vocab_size!r}")
    family = str(config.get("model_type"))
    tokenizer = train_wordpiece(texts, vocab_size)
    positions = config.get("max_position_embeddings", DEFAULT_POSITIONS)
    return tokenizer_files(
        tokenizer,
        model_max_length=longest_input(family, positions, tokenizer.token_to_id(PAD) or 0),
        token_types=family in ("bert", "electra") and config.get("type_vocab_size", 2) > 1,
    )
