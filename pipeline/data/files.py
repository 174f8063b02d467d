"""Local CSV, TSV, JSON, JSON Lines and Parquet files as tables in memory: nothing is cached on the disk."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import DataError

Columns = dict[str, list[Any]]


def read_table(kind: str, path: Path) -> pa.Table:
    """Return the rows of one file of ``kind`` (a key of ``READERS``); raises ``DataError`` naming the file and line."""
    if not path.is_file():
        raise DataError(f"task.dataset.data_files: no such file: {path}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; it must hold at least one row")
    try:
        return READERS[kind](path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text at byte {error.start}; write it as UTF-8") from error
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _read_json(path: Path) -> pa.Table:
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
    return _to_table(path, {name: [row.get(name) for row in rows] for name in names})


def _parse_line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: not JSON: {error.msg}; JSON Lines hold one object per line") from error


def _read_csv(path: Path) -> pa.Table:
    return _to_table(path, _parse_delimited(path, _read_text(path), ",", csv.QUOTE_MINIMAL))


def _read_tsv(path: Path) -> pa.Table:
    text = _read_text(path)
    try:
        columns = _parse_delimited(path, text, "\t", csv.QUOTE_MINIMAL)
    except DataError:
        # Many published TSV files hold bare quotation marks: there a quote is a character like any other.
        columns = _parse_delimited(path, text, "\t", csv.QUOTE_NONE)
    return _to_table(path, columns)


def _parse_delimited(path: Path, text: str, delimiter: str, quoting: Any) -> Columns:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    rows = []
    try:
        header = next(reader, [])
        for row in reader:
            if row and len(row) != len(header):
                raise DataError(f"{path}:{reader.line_num}: {len(row)} fields, but the header has {len(header)}")
            rows.append(row)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not delimited text: {error}") from error
    if len(set(header)) != len(header):
        raise DataError(f"{path}:1: the header names a column twice: {', '.join(header)}")
    rows = [row for row in rows if row]
    return {name: _to_numbers([row[index] for row in rows]) for index, name in enumerate(header)}


def _to_numbers(cells: list[str]) -> list[Any]:
    """Return integers or floats where every filled cell is one (an empty cell is then a null), else the text as is."""
    parsers: Sequence[Callable[[str], Any]] = (int, float)
    if not any(cells):
        return list(cells)
    for parse in parsers:
        try:
            return [parse(cell) if cell else None for cell in cells]
        except ValueError:
            continue
    return list(cells)


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
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


READERS: dict[str, Callable[[Path], pa.Table]] = {
    "csv": _read_csv,
    "tsv": _read_tsv,
    "json": _read_json,
    "parquet": _read_parquet,
}
"""What ``dataset.path`` may name besides a hub data set, a folder and ``builtin``."""
