"""CSV and TSV text as columns: what a quotation mark means in it, and which cells are numbers."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipeline.errors import DataError

Rows = list[list[str]]

QUOTED = re.compile(r'"(?:[^"]|"")*"')
DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
LARGEST_WHOLE = 2**63
LARGEST_EXACT = 2**53
"""The largest whole number up to which a float holds each one."""


def parse_csv(path: Path, text: str, as_text: Collection[str]) -> dict[str, list[Any]]:
    """Return the columns by name, of numbers where they safely are, except for those to be read ``as_text``."""
    rows = _rows(path, text, ",", csv.QUOTE_MINIMAL)
    _check_even(path, rows)
    return _columns(path, [row for _, row in rows], as_text)


def parse_tsv(path: Path, text: str, as_text: Collection[str]) -> dict[str, list[Any]]:
    """Return the columns as ``parse_csv`` does, with quotation marks taken for quoting only where all of them can be.

    Many published TSV files hold bare marks, and one at the start of a field would swallow the lines up to the next.
    Where each line has the header's number of fields, they quote if every field with one could have been written by
    a program that quotes; otherwise they are characters of the text. Where a line has not, a quoted field must hold
    the break; one that holds tabs too is refused, since it looks like rows swallowed.
    """
    plain = _rows(path, text, "\t", csv.QUOTE_NONE)
    if len({len(row) for _, row in plain if row}) <= 1:
        marked = [cell for _, row in plain for cell in row if '"' in cell]
        is_quoted = all(QUOTED.fullmatch(cell) for cell in marked)
        return _columns(path, [[_unquoted(cell) for cell in row] if is_quoted else row for _, row in plain], as_text)
    try:
        quoted = _rows(path, text, "\t", csv.QUOTE_MINIMAL)
        _check_even(path, quoted)
    except DataError:
        quoted = []
    if not quoted or any("\t" in cell and "\n" in cell for _, row in quoted for cell in row):
        _check_even(path, plain, "; a quoted field may hold a tab or a line break, but not both")
    return _columns(path, [row for _, row in quoted], as_text)


def _rows(path: Path, text: str, delimiter: str, quoting: Any) -> list[tuple[int, list[str]]]:
    """Return each row with the number of its last line; no field is too long."""
    limit = csv.field_size_limit(max(1, len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    try:
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not delimited text: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _check_even(path: Path, rows: list[tuple[int, list[str]]], hint: str = "") -> None:
    expected = len(rows[0][1]) if rows else 0
    for line, row in rows:
        if row and len(row) != expected:
            raise DataError(f"{path}:{line}: {len(row)} fields, but the header has {expected}{hint}")


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell


def _columns(path: Path, rows: Rows, as_text: Collection[str]) -> dict[str, list[Any]]:
    header = rows[0] if rows else []
    if len(set(header)) != len(header):
        raise DataError(f"{path}:1: the header names a column twice: {', '.join(header)}")
    cells = {name: [row[index] for row in rows[1:] if row] for index, name in enumerate(header)}
    return {name: column if name in as_text else _values(column) for name, column in cells.items()}


def _values(cells: list[str]) -> list[Any]:
    """Return numbers where every filled cell plainly is one (an empty cell is then a null), else the text as is.

    ``007`` and ``1_000`` are text: a number would not say how they were written.
    """
    filled = [cell for cell in cells if cell]
    if not filled or not all(DECIMAL.fullmatch(cell) for cell in filled):
        return cells
    if all(_is_whole(cell, LARGEST_WHOLE) for cell in filled):
        return [int(cell) if cell else None for cell in cells]
    if all(_is_whole(cell, LARGEST_EXACT) or not cell.lstrip("-").isdigit() for cell in filled):
        values = [float(cell) if cell else None for cell in cells]
        if all(value is None or math.isfinite(value) for value in values):
            return values
    return cells


def _is_whole(cell: str, limit: int) -> bool:
    return cell.lstrip("-").isdigit() and cell != "-0" and abs(int(cell)) < limit
