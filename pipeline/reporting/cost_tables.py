"""What each stage's model costs beyond the table of stages: sizes, and latency with its spread."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.reporting.layout import MISSING, Table, format_count, format_number, format_share, format_speedup

BATCHES = (1, 8, 32)
SIZES = {
    "encoder_parameters": "encoder parameters",
    "parameters": "all parameters",
    "macs": "MACs per row",
    "size_bytes": "bytes of weights",
    "size_gzip_bytes": "gzipped",
}
ZEROS = ("weights_touched", "weight_sparsity", "matmul_sparsity", "blocks", "blocks_removed", "gzip_ratio")
Metrics = Mapping[str, Mapping[str, float]]
"""By stage, in order, what was measured of its model."""


def has_cut(metrics: Mapping[str, float]) -> bool:
    """Say whether heads or channels had left the model that these metrics are of."""
    return metrics.get("encoder_sparsity", 0.0) > 0


def size_table(measured: Metrics) -> Table | None:
    """Return a row per stage: parameters, MACs and bytes, each with its share of the first stage's; None if unknown."""
    known = [name for name in SIZES if any(name in metrics for metrics in measured.values())]
    if not known:
        return None
    first = next(iter(measured.values()))
    rows = [
        [stage, *(_with_share(metrics.get(name), first.get(name)) for name in known)]
        for stage, metrics in measured.items()
    ]
    return Table("Size", ["stage", *(SIZES[name] for name in known)], rows)


def zeros_table(measured: Metrics) -> Table | None:
    """Return a row per stage that made weights zero: their shares, blocks and gzipped size; None where none did."""
    rows = [
        [
            stage,
            format_count(metrics["weights_touched"]),
            format_share(metrics["weight_sparsity"]),
            format_share(metrics["matmul_sparsity"]),
            f"{format_count(metrics['blocks_removed'])} of {format_count(metrics['blocks'])}",
            f"{format_number(metrics['gzip_ratio'])}× smaller",
        ]
        for stage, metrics in measured.items()
        if all(name in metrics for name in ZEROS)
    ]
    headers = ["stage", "weights touched", "zeros of these", "zeros of all matrix weights", "blocks", "gzipped"]
    notes = ["All matrix weights: those of every matrix product and convolution. Gzipped: against the stage's source."]
    return Table("Zeros in the weights", headers, rows, notes) if rows else None


def latency_table(measured: Metrics) -> Table | None:
    """Return a row per stage: for each batch size median, 95th percentile and speed-up; None where none was timed."""
    sizes = [size for size in BATCHES if any(f"latency_b{size}_ms" in metrics for metrics in measured.values())]
    if not sizes:
        return None
    rows = [[stage, *(_timing(metrics, size) for size in sizes)] for stage, metrics in measured.items()]
    return Table(
        "Latency: median ms (95th percentile), speed-up", ["stage", *(f"batch {size}" for size in sizes)], rows
    )


def _with_share(value: float | None, first: float | None) -> str:
    return format_count(value) if not value or not first else f"{format_count(value)} ({format_share(value / first)})"


def _timing(metrics: Mapping[str, float], size: int) -> str:
    median, p95 = metrics.get(f"latency_b{size}_ms"), metrics.get(f"latency_b{size}_p95_ms")
    if median is None:
        return MISSING
    return f"{format_number(median)} ({format_number(p95)}), {format_speedup(metrics.get(f'speedup_b{size}'))}"
