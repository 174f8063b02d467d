"""The report of a run: one row per stage, read from the manifests, as text, Markdown and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from pipeline.artifacts.commit import write_file
from pipeline.reporting.cost_tables import latency_table, size_table, zeros_table
from pipeline.reporting.layout import (
    Table,
    format_count,
    format_counts,
    format_metric,
    format_number,
    format_share,
    format_speedup,
    plain_table,
)
from pipeline.reporting.recipe_summary import recipe_in_short
from pipeline.reporting.scores import BEFORE_CUT, split_and_metric, split_scores
from pipeline.reporting.units import KINDS, units_kept

if TYPE_CHECKING:
    from pipeline.artifacts.run import Run

OUTDATED_NOTE = "* made by other settings than the recipe's now, or from a stage that was redone since: run again"

Cell = tuple[str, Callable[["StageRow"], str]]


@dataclass(frozen=True)
class StageRow:
    """What one committed stage came to; ``kept`` holds the units left per layer, by kind, where a cut tells them."""

    stage: str
    uses: str
    metrics: Mapping[str, float]
    seconds: float
    kept: Mapping[str, tuple[int, ...]]
    environment: Mapping[str, Any]
    is_outdated: bool = False
    """Made by other settings than the recipe's, or from a stage that was redone since."""


@dataclass(frozen=True)
class Report:
    """The rows of a run's committed stages, in order, and the recipe they were made by."""

    run: str
    rows: tuple[StageRow, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_run(cls, run: Run) -> Report:
        """Return the report of ``run``, read from its manifests alone."""
        artifacts = [(name, run[name]) for name in run.stages]
        outdated = run.outdated()
        recipe = YAML(typ="safe", pure=True).load(run.recipe_text) if artifacts else {}
        order = _score_order(recipe)
        kept = units_kept([artifact.total_keep_plan for _, artifact in artifacts])
        rows = [
            StageRow(
                stage=name,
                uses=artifact.manifest.uses,
                metrics=_ordered(artifact.metrics, order),
                seconds=artifact.manifest.seconds,
                kept=units,
                environment=dict(artifact.manifest.environment),
                is_outdated=name in outdated,
            )
            for (name, artifact), units in zip(artifacts, kept, strict=True)
        ]
        return cls(run.name, tuple(rows), recipe)

    @property
    def splits(self) -> Sequence[str]:
        """The validation splits of the recipe's task."""
        splits: Sequence[str] = self.recipe.get("task", {}).get("validation", ())
        return splits

    def table(self) -> str:
        """Return the table for the terminal, and below it what was kept per layer and how the times were taken."""
        lines = [plain_table(*self._cells()), ""]
        lines += [
            f"{kind} kept per layer: " + "; ".join(f"{row.stage} {format_counts(row.kept[kind])}" for row in changes)
            for kind in KINDS
            if (changes := self._changes(kind))
        ]
        return "\n".join([*lines, *self._notes()]).rstrip()

    def markdown(self) -> str:
        """Return the report as a Markdown document."""
        parts = [f"# {self.run}"]
        for title, text in [
            *self.sections(),
            ("The recipe in short", bullets(self.recipe_facts())),
            ("Measured on", bullets(self.environment_facts())),
        ]:
            parts += [f"## {title}" if title else "", text] if text else []
        return "\n\n".join(part for part in parts if part) + "\n"

    def sections(self) -> list[tuple[str, str]]:
        """Return the titles of ``tables`` with the tables in Markdown."""
        return [(table.title, table.markdown()) for table in self.tables()]

    def tables(self) -> list[Table]:
        """Return the stages (without a title), units per layer, metrics around the cuts, zeros, sizes and latencies."""
        found = [Table("", *self._cells(), self._notes())]
        if any(row.kept for row in self.rows):
            units = [[row.stage, *(format_counts(row.kept.get(kind)) for kind in KINDS)] for row in self.rows]
            found.append(Table("Units kept per layer", ["stage", *KINDS], units))
        if cuts := self._cut_rows():
            found.append(Table("The metric around each cut", ["stage", "metric", "before", "after"], cuts))
        measured = {row.stage: row.metrics for row in self.rows}
        tables = (zeros_table(measured), size_table(measured), latency_table(measured))
        return [*found, *(table for table in tables if table is not None)]

    def recipe_facts(self) -> list[tuple[str, str]]:
        """Return what the recipe asked for, in short."""
        return recipe_in_short(self.recipe)

    def environment_facts(self) -> list[tuple[str, Any]]:
        """Return what the last stage was measured on, and the seed."""
        facts = flat(self.rows[-1].environment) if self.rows else []
        return [*facts, ("seed", self.recipe["seed"])] if "seed" in self.recipe else facts

    def json(self) -> str:
        """Return everything the report knows, as JSON text."""
        stages = [
            {
                "stage": row.stage,
                "uses": row.uses,
                "seconds": row.seconds,
                "metrics": {name: value if math.isfinite(value) else None for name, value in row.metrics.items()},
                "is_outdated": row.is_outdated,
                "kept": {kind: list(counts) for kind, counts in row.kept.items()},
                "environment": dict(row.environment),
            }
            for row in self.rows
        ]
        document = {"run": self.run, "recipe": self.recipe, "stages": stages}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        columns = self._columns()
        return [header for header, _ in columns], [[cell(row) for _, cell in columns] for row in self.rows]

    def _columns(self) -> list[Cell]:
        names = list(dict.fromkeys(name for row in self.rows for name in split_scores(row.metrics)))
        named = {name: split_and_metric(name, self.splits) for name in names}
        is_single_split = len({split for split, _ in named.values()}) == 1
        scores = [
            _score_column(name, metric if is_single_split else f"{split}\n{metric}")
            for name, (split, metric) in named.items()
        ]
        return [
            ("stage", lambda row: f"{row.stage} *" if row.is_outdated else row.stage),
            *scores,
            ("encoder\nsparsity", lambda row: format_share(row.metrics.get("encoder_sparsity"))),
            ("parameters", lambda row: format_count(row.metrics.get("parameters"))),
            ("MACs\nper row", lambda row: format_count(row.metrics.get("macs"))),
            *(column for batch_size in (1, 32) for column in _timing_columns(batch_size)),
            ("seconds", lambda row: format_number(row.seconds, 1)),
        ]

    def _changes(self, kind: str) -> list[StageRow]:
        """Return the rows whose units per layer differ from the row before, the first included."""
        known = [row for row in self.rows if kind in row.kept]
        return [row for index, row in enumerate(known) if index == 0 or row.kept[kind] != known[index - 1].kept[kind]]

    def _cut_rows(self) -> list[list[str]]:
        rows = []
        for row in self.rows:
            for name, after in split_scores(row.metrics).items():
                before = row.metrics.get(BEFORE_CUT + name)
                if before is not None:
                    rows.append([row.stage, name, *(format_metric(name, value) for value in (before, after))])
        return rows

    def _notes(self) -> list[str]:
        is_outdated = any(row.is_outdated for row in self.rows)
        notes = [OUTDATED_NOTE] if is_outdated else []
        measured = [row.metrics for row in self.rows if "latency_b1_ms" in row.metrics]
        return [*notes, _timing_note(measured)] if measured else notes


def write_report(run: Run) -> Report:
    """Write ``report.md`` and ``report.json`` into the run's folder, each whole or not at all, where they changed."""
    report = Report.from_run(run)
    for name, text in (("report.md", report.markdown()), ("report.json", report.json())):
        path = run.path / name
        if not path.exists() or path.read_bytes() != text.encode():
            write_file(path, text.encode())
    return report


def _timing_note(measured: Sequence[Mapping[str, float]]) -> str:
    rounds = [int(value) for row in measured for name, value in row.items() if name.endswith("_rounds")]
    threads = {int(row["latency_threads"]) for row in measured if "latency_threads" in row}
    facts = ["Latency: median in milliseconds, float32, real lengths, taking turns with the run's model before any cut"]
    facts += [f"at least {min(rounds)} rounds"] if rounds else []
    facts += [f"threads: {' or '.join(map(str, sorted(threads)))}"] if threads else []
    return ", ".join(facts) + "."


def bullets(facts: Sequence[tuple[str, Any]]) -> str:
    """Return a list in Markdown."""
    return "\n".join(f"* {name}: {value}" for name, value in facts)


def _score_order(recipe: Mapping[str, Any]) -> list[str]:
    """Return the names of the scores as the recipe orders its splits and metrics; manifests sort their keys."""
    task = recipe.get("task", {})
    return [f"{split}/{metric}" for split in task.get("validation", ()) for metric in task.get("metric", ())]


def _ordered(metrics: Mapping[str, float], order: Sequence[str]) -> dict[str, float]:
    first = {name: metrics[name] for name in order if name in metrics}
    return {**first, **metrics}


def _score_column(name: str, header: str) -> Cell:
    return header, lambda row: format_metric(name, row.metrics.get(name))


def _timing_columns(batch_size: int) -> list[Cell]:
    return [
        (f"ms, batch\n{batch_size}", lambda row: format_number(row.metrics.get(f"latency_b{batch_size}_ms"))),
        (f"speed-up\nbatch {batch_size}", lambda row: format_speedup(row.metrics.get(f"speedup_b{batch_size}"))),
    ]


def flat(environment: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the facts of a nested document as dotted names and values."""
    facts: list[tuple[str, Any]] = []
    for name, value in environment.items():
        facts += flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
    return facts
