"""Runs, artifacts and keep plans as a notebook shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from pipeline.reporting.layout import format_count, format_metric, format_number, format_share, format_speedup
from pipeline.reporting.report import Report
from pipeline.reporting.scores import split_scores, splits_of, spoken
from pipeline.reporting.units import KINDS

if TYPE_CHECKING:
    from pandas import DataFrame

    from pipeline.artifacts.run import Artifact, Run
    from pipeline.surgery.keep_plan import Kept

MOST_CELLS = 32
"""Units of a group that are shown one by one; of more, only how many are kept."""
KEPT_CELL, GONE_CELL = "■", "·"
FACTS = (
    ("encoder_sparsity", "encoder sparsity", format_share),
    ("parameters", "parameters", format_count),
    ("macs", "MACs per row", format_count),
    ("size_bytes", "bytes of weights", format_count),
    ("latency_b1_ms", "ms, batch 1", format_number),
    ("speedup_b1", "speed-up, batch 1", format_speedup),
    ("latency_b32_ms", "ms, batch 32", format_number),
    ("speedup_b32", "speed-up, batch 32", format_speedup),
)


def compare(run: Run) -> DataFrame:
    """Return a frame with a row per committed stage, ``nan`` where a stage does not know a metric."""
    from pandas import DataFrame

    rows = Report.from_run(run).rows
    table: dict[str, dict[str, Any]] = {}
    for row in rows:
        left = {f"{kind}_kept": sum(counts) for kind, counts in row.kept.items()}
        table[row.stage] = {"uses": row.uses, **row.metrics, **left, "seconds": row.seconds}
    return DataFrame.from_dict(table, orient="index").rename_axis("stage")


def run_html(run: Run) -> str:
    """Return the table of stages, below the run's name and folder."""
    stages, *_ = Report.from_run(run).tables()
    notes = "".join(f"<p><small>{escape(note)}</small></p>" for note in stages.notes)
    return f"<p><b>{escape(run.name)}</b> in {escape(str(run.path))}</p>{_table(stages.headers, stages.rows)}{notes}"


def artifact_html(artifact: Artifact) -> str:
    """Return what the artifact is, its scores and costs, and what it kept."""
    manifest, metrics = artifact.manifest, artifact.metrics
    title = artifact.name if artifact.name == manifest.uses else f"{artifact.name} ({manifest.uses})"
    splits = splits_of(artifact)
    facts = [[spoken(name, splits), format_metric(name, value)] for name, value in split_scores(metrics).items()]
    facts += [[label, write(metrics[name])] for name, label, write in FACTS if name in metrics]
    facts.append(["seconds", format_number(manifest.seconds, 1)])
    plan = artifact.keep_plan
    kept = f"<p>Kept of what {escape(_parent(artifact))} left:</p>{plan_html(plan)}" if plan is not None else ""
    return f"<p><b>{escape(title)}</b> in {escape(str(artifact.path))}</p>{_table(['', 'value'], facts)}{kept}"


def plan_html(plan: Mapping[str, Kept]) -> str:
    """Return a row per group: how many units stay, and which, a square for each that does."""
    rows = [[name, f"{len(kept.units)} of {kept.of}", _cells(kept)] for name, kept in plan.items()]
    totals = [
        f"{sum(len(kept.units) for kept in of_kind)} of {sum(kept.of for kept in of_kind)} {kind}"
        for kind in KINDS
        if (of_kind := [kept for name, kept in plan.items() if name.endswith(f".{kind}")])
    ]
    return f"<p>{' and '.join(totals) or 'Everything'} kept</p>{_table(['group', 'kept', 'units'], rows)}"


def _cells(kept: Kept) -> str:
    if kept.of > MOST_CELLS:
        return format_share(len(kept.units) / kept.of)
    return "".join(KEPT_CELL if unit in kept.units else GONE_CELL for unit in range(kept.of))


def _parent(artifact: Artifact) -> str:
    return str((artifact.manifest.inputs.get("parent") or {}).get("stage") or "the first model")


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(tag: str, texts: Sequence[str]) -> str:
        aligned = ["left", *["right"] * (len(texts) - 1)]
        pairs = zip(aligned, texts, strict=True)
        return "".join(f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>' for side, text in pairs)

    head = cells("th", [header.replace("\n", " ") for header in headers])
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
