"""The files of a tokenizer or image processor, as bytes, so that they travel from stage to stage unchanged."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.sources import is_path
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.recipe.sources import ModelSource

TOKENIZER_FILES = (
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
VOCABULARIES = frozenset(TOKENIZER_FILES) - {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}
IMAGE_PROCESSOR_FILES = ("preprocessor_config.json",)


def read_folder(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return those of the files named that the folder has."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def check_place(model: ModelSource, folder: Path | None, needed: Collection[str]) -> None:
    """Raise ``DataError`` where the processor would be read from a folder that is missing or has none of ``needed``."""
    if folder is None and model.pretrained is not None and (model.is_folder or is_path(model.pretrained)):
        folder = Path(model.pretrained)
    if folder is None:
        return
    if not folder.is_dir():
        raise DataError(f"model: no such folder: {folder}")
    if not any((folder / name).is_file() for name in needed):
        names = ", ".join(sorted(needed))
        raise DataError(f"model: {folder} has no tokenizer or image processor for this task; it needs one of {names}")


def read_source(model: ModelSource, names: Sequence[str]) -> dict[str, bytes]:
    """Return those of the files named that a folder has, or that the hub's cache holds once they were loaded."""
    if model.is_folder:
        return read_folder(Path(str(model.pretrained)), names)
    from transformers.utils import cached_file

    found = {}
    for name in names:
        path = cached_file(
            model.pretrained,
            name,
            revision=model.revision,
            local_files_only=True,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if path is not None:
            found[name] = Path(path).read_bytes()
    return found


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files into the folder, byte for byte."""
    for name, content in files.items():
        (folder / name).write_bytes(content)


def name_class(files: Mapping[str, bytes], file: str, key: str, processor: Any) -> dict[str, bytes]:
    """Return the files with the processor's class named under ``key`` of ``file``, unchanged if it was.

    Older checkpoints leave the class to the model's family, which transformers cannot tell from a family of ours.
    """
    settings = json.loads(files.get(file, b"{}"))
    if settings.get(key):
        return dict(files)
    settings[key] = type(processor).__name__.removesuffix("Pil")
    return {**files, file: (json.dumps(settings, indent=2) + "\n").encode()}
