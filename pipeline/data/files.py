"""Local CSV, TSV, JSON, JSON Lines and Parquet files as tables in memory: nothing is cached on the disk."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.delimited import parse_csv, parse_tsv
from pipeline.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

Columns = dict[str, list[Any]]
TEXT_TYPES = ("string", "large_string")
"""Arrow's names of text."""


def read_table(kind: str, path: Path, as_text: Collection[str] = (), needed: Collection[str] = ()) -> pa.Table:
    """Return the rows of one file of ``kind`` (of ``FORMATS``); raises ``DataError`` naming the file and line.

    ``as_text`` are columns in which a CSV or TSV file holds text even where all of it looks like numbers. Where all
    columns ``needed`` are there the table has no others.
    """
    with _explained(path):
        if kind == "parquet":
            return _read_parquet(path, needed)
        columns = PARSERS[kind](path, as_text)
        return _to_table(path, {name: columns[name] for name in needed} if _are_in(columns, needed) else columns)


def read_text_column(kind: str, path: Path, name: str) -> list[Any]:
    """Return the values of one column, which need not be there; of a Parquet file only a column of text."""
    with _explained(path):
        if kind != "parquet":
            return PARSERS[kind](path, (name,)).get(name, [])
        table = _read_parquet(path, (name,))
        is_text = name in table.column_names and str(table.schema.field(name).type) in TEXT_TYPES
        return table.column(name).to_pylist() if is_text else []


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise DataError(f"task.dataset.data_files: no such file: {path}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; it must hold at least one row")
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text at byte {error.start}; write it as UTF-8") from error
    except RecursionError as error:
        raise DataError(f"{path}: nested too deeply to be read; a row must be an object of columns") from error
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _read_json(path: Path, as_text: Collection[str]) -> Columns:
    text = _read_text(path)
    if text.lstrip()[:1] == "[":
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    else:
        # Only "\n" ends a line here: str.splitlines would also cut at the line separators JSON allows in a string.
        lines = text.split("\n")
        rows = [_parse_line(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number} must be an object of columns, got {json.dumps(row)[:60]}")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _parse_line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: not JSON: {error.msg}; JSON Lines hold one object per line") from error


def _read_csv(path: Path, as_text: Collection[str]) -> Columns:
    return parse_csv(path, _read_text(path), as_text)


def _read_tsv(path: Path, as_text: Collection[str]) -> Columns:
    return parse_tsv(path, _read_text(path), as_text)


def _are_in(columns: Collection[str], needed: Collection[str]) -> bool:
    return bool(needed) and set(needed) <= set(columns)


def _read_parquet(path: Path, needed: Collection[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        is_whole = _are_in(parquet.read_schema(path).names, needed)
        table = parquet.read_table(path, columns=list(needed) if is_whole else None)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a Parquet file: {error}") from error
    for index, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type):
            # What pandas writes for a categorical column.
            table = table.set_column(index, table.column_names[index], column.cast(column.type.value_type))
    return table


def _read_text(path: Path) -> str:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        return file.read().decode("utf-8-sig")


def _to_table(path: Path, columns: Columns) -> pa.Table:
    import pyarrow as pa

    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(values)
        except UnicodeEncodeError as error:
            raise DataError(f"{path}: column {name} holds half a surrogate pair, which no text can: {error}") from error
        except (ValueError, TypeError, OverflowError) as error:
            kinds = ", ".join(sorted({type(value).__name__ for value in values}))
            raise DataError(f"{path}: column {name} mixes kinds of values ({kinds}); use one kind") from error
    return pa.table(arrays)


PARSERS: dict[str, Callable[[Path, Collection[str]], Columns]] = {
    "csv": _read_csv,
    "tsv": _read_tsv,
    "json": _read_json,
}
FORMATS = (*PARSERS, "parquet")
"""What ``dataset.path`` may name besides a hub data set, a folder and ``builtin``."""
