"""Where a recipe's data set comes from: the hub, local files, a folder of ``save_to_disk``, or built in."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline.recipe.sources import DatasetSource

logger = logging.getLogger(__name__)


def load_splits(
    source: DatasetSource, as_text: Collection[str] = (), needed: Collection[str] = ()
) -> Mapping[str, Dataset]:
    """Return the data set's splits by name; raises ``DataError`` in one line when it cannot be read.

    Local files are read into memory, so that nothing needs to be written anywhere. ``as_text`` are columns that a CSV
    or TSV file, which has no types, holds text in. Of a local file that has all columns ``needed`` no other is read: it
    may hold what no table can.
    """
    from pipeline.data.files import FORMATS

    if source.builtin is not None:
        return _builtin_splits(source)
    assert source.path is not None
    if source.path in FORMATS and not _names_addresses(source.data_files):
        return _file_splits(source.path, source.data_files or {}, as_text, needed)
    folder = Path(source.path)
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _saved_splits(folder)
    if is_path(source.path) and not folder.exists():
        raise DataError(f"task.dataset.path: no such folder: {source.path}")
    return _hub_splits(source)


def _builtin_splits(source: DatasetSource) -> Mapping[str, Dataset]:
    from pipeline.data import generated

    if source.builtin == "digits":
        if source.rows is not None or source.seed is not None:
            logger.warning("task.dataset: builtin digits is one fixed data set; rows and seed are ignored")
        return generated.digits()
    if source.builtin == "grammar":
        options = {"rows": source.rows, "seed": source.seed}
        return generated.grammar(**{name: value for name, value in options.items() if value is not None})
    raise DataError(f"task.dataset.builtin: must be digits or grammar, got {source.builtin!r}")


def is_path(place: str) -> bool:
    """Say whether ``place`` is written as a path of this machine, which no hub id can be."""
    return place.startswith((".", "/", "~")) or place.count("/") > 1


def _names_addresses(data_files: Mapping[str, str | Sequence[str]] | None) -> bool:
    return any("://" in file for files in (data_files or {}).values() for file in _as_list(files))


def _as_list(files: str | Sequence[str]) -> list[str]:
    return [files] if isinstance(files, str) else list(files)


def _file_splits(
    kind: str, data_files: Mapping[str, str | Sequence[str]], as_text: Collection[str], needed: Collection[str]
) -> Mapping[str, Dataset]:
    import pyarrow as pa
    from datasets import Dataset

    from pipeline.data.files import read_table

    splits = {}
    for split, files in data_files.items():
        tables = [read_table(kind, Path(file), as_text, needed) for file in _as_list(files)]
        try:
            splits[split] = Dataset(pa.concat_tables(tables, promote_options="permissive"))
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise DataError(
                f"task.dataset.data_files.{split}: the files' columns differ: {_one_line(error)}"
            ) from error
    return splits


def _saved_splits(folder: Path) -> Mapping[str, Dataset]:
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(folder))
    except Exception as error:  # the library lets whatever the files provoke through
        raise DataError(
            f"task.dataset.path: {folder} is not a readable save_to_disk folder: {_one_line(error)}"
        ) from error
    return loaded if isinstance(loaded, DatasetDict) else {"train": loaded}


def _hub_splits(source: DatasetSource) -> Mapping[str, Dataset]:
    from datasets import DatasetDict, load_dataset

    if source.trust_remote_code:
        logger.warning("task.dataset.trust_remote_code is ignored: data sets no longer run code of their own")
    options: dict[str, Any] = {"name": source.name, "revision": source.revision, "cache_dir": _cache_dir()}
    if source.data_files:
        options["data_files"] = {split: _as_list(files) for split, files in source.data_files.items()}
    try:
        loaded = load_dataset(source.path, **options)
    except Exception as error:  # network, cache, parser and validation errors have no common class
        name = f"{source.path} ({source.name})" if source.name else source.path
        raise DataError(
            f"task.dataset: cannot load {name}: {_one_line(error)}; give a hub data set, a folder, or "
            "path: csv, tsv, json or parquet with data_files"
        ) from error
    return loaded if isinstance(loaded, DatasetDict) else {"train": loaded}


def _cache_dir() -> str | None:
    """Return None where the library's own cache can be written, else a temporary folder."""
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE)
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return None if os.access(existing, os.W_OK) else tempfile.mkdtemp(prefix="pruneline-datasets-")


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
