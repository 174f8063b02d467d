"""Lay rows of numbers out as a plain table for the terminal or as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

MISSING = "–"
SHARE_METRICS = ("accuracy", "f1")
"""Metrics shown as a percentage; any other is shown as the number it is."""


@dataclass(frozen=True)
class Table:
    """A table with a title, and notes below it; headers may break lines."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Return the table and its notes in Markdown, without the title."""
        return "\n\n".join([markdown_table(self.headers, self.rows), *self.notes])


def plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned table, the first column to the left, the others to the right; headers may break lines."""
    head = [header.split("\n") for header in headers]
    depth = max(len(lines) for lines in head)
    head_rows = [[([""] * (depth - len(lines)) + lines)[line] for lines in head] for line in range(depth)]
    widths = [max(len(row[column]) for row in [*head_rows, *rows]) for column in range(len(headers))]
    lines = [_aligned(row, widths) for row in head_rows]
    lines.append("  ".join("─" * width for width in widths))
    return "\n".join([*lines, *(_aligned(row, widths) for row in rows)])


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the same table in Markdown."""
    head = "| " + " | ".join(_escaped(header.replace("\n", " ")) for header in headers) + " |"
    rule = "|" + "|".join([" --- ", *[" ---: "] * (len(headers) - 1)]) + "|"
    return "\n".join([head, rule, *("| " + " | ".join(map(_escaped, row)) + " |" for row in rows)])


def format_metric(name: str, value: float | None) -> str:
    """Return a score as people write it: accuracy and f1 as a percentage, any other with four decimals."""
    if value is None:
        return MISSING
    return f"{value:.2%}" if name.rpartition("/")[2] in SHARE_METRICS else f"{value:.4f}"


def format_share(value: float | None) -> str:
    """Return a share as a percentage with one decimal."""
    return MISSING if value is None else f"{value:.1%}"


def format_count(value: float | None) -> str:
    """Return a large count with four digits and its unit: 22.71M; below a thousand as it is."""
    if value is None:
        return MISSING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.0f}"


def format_number(value: float | None, decimals: int = 2) -> str:
    """Return a number with as many decimals."""
    return MISSING if value is None else f"{value:.{decimals}f}"


def format_speedup(value: float | None) -> str:
    """Return a ratio such as 2.31×."""
    return MISSING if value is None else f"{value:.2f}×"


def format_counts(counts: Sequence[int] | None) -> str:
    """Return numbers per layer, layers that are all the same as ``12 × 6``: the number, then how many layers."""
    if not counts:
        return MISSING
    if len(counts) > 1 and len(set(counts)) == 1:
        return f"{counts[0]} × {len(counts)}"
    return " ".join(str(count) for count in counts)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
