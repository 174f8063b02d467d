"""Lays a forecast out as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.forecast.costs import Costs
from pipeline.forecast.forecasting import StageForecast
from pipeline.reporting.layout import MISSING, format_count, format_share, plain_table

BY_TRAINING = "set by training"
LEAST, MOST = "at least ", "at most "


def forecast_lines(rows: Sequence[StageForecast]) -> list[str]:
    """Return the table and, where times were estimated, their sum; then what stages touch that leave shapes alone."""
    has_tokens = any(row.amount is not None and row.amount.tokens is not None for row in rows)
    has_times = any(row.seconds is not None for row in rows)
    headers = ["stage", "encoder\nsparsity", "parameters", "MACs\nper row", "steps", "rows\nseen"]
    headers += ["tokens\nseen"] * has_tokens + ["seconds,\nabout"] * has_times
    cells = [[*_costs(row), *_amounts(row, has_tokens), *_times(row, has_times)] for row in rows]
    lines = plain_table(headers, cells).splitlines()
    if has_times:
        total = sum(row.seconds or 0.0 for row in rows)
        lines.append(f"about {_duration(total)} in all, from a few steps timed here and now")
    for row in rows:
        if row.notes:
            lines += ["", row.stage, *(f"  {note}" for note in row.notes)]
    return lines


def _costs(row: StageForecast) -> list[str]:
    costs = row.costs or Costs(None, None, None)
    told = [
        None if costs.encoder_sparsity is None else format_share(costs.encoder_sparsity),
        None if costs.parameters is None else f"{costs.parameters:,}",
        None if costs.macs is None else format_count(costs.macs),
    ]
    bounds = (LEAST, MOST, MOST) if costs.is_limit else ("", "", "")
    cells = (BY_TRAINING if cell is None else f"{bound}{cell}" for bound, cell in zip(bounds, told, strict=True))
    return [row.stage, *cells]


def _amounts(row: StageForecast, has_tokens: bool) -> list[str]:
    if row.amount is None:
        return [MISSING] * (3 if has_tokens else 2)
    counts = [f"{row.amount.steps:,}", f"{row.amount.rows:,}"]
    return counts + ([MISSING if row.amount.tokens is None else format_count(row.amount.tokens)] if has_tokens else [])


def _times(row: StageForecast, has_times: bool) -> list[str]:
    if not has_times:
        return []
    return [MISSING if row.seconds is None else f"{row.seconds:,.0f}"]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
