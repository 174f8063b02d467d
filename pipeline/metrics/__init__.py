"""Metrics of our own that need no network, and the door to those of the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import RecipeError
from pipeline.recipe.mistakes import shown

if TYPE_CHECKING:
    from evaluate import EvaluationModule

CLASS_METRICS = ("accuracy", "f1", "matthews")
VALUE_METRICS = ("pearson", "spearman")
OWN_METRICS = (*CLASS_METRICS, *VALUE_METRICS)


def check_metrics(names: Sequence[str], *, trust_remote_code: bool, regression: bool) -> None:
    """Raise ``RecipeError`` for a metric that is not ours without the flag, or that cannot score regressed values."""
    for name in names:
        if name not in OWN_METRICS and not trust_remote_code:
            raise _unknown_metric(name)
        if regression and name in CLASS_METRICS:
            raise RecipeError(
                f"task.metric: {name} compares classes, but task.regression is true; use {' or '.join(VALUE_METRICS)}"
            )


def load_metric(name: str, trust_remote_code: bool = False) -> EvaluationModule:
    """Return our metric ``name``, or whatever ``evaluate.load`` finds under it once its code is trusted.

    Importing ``evaluate`` takes seconds: it waits until a metric is wanted.
    """
    if name in OWN_METRICS:
        from pipeline.metrics.own import METRICS

        return METRICS[name](keep_in_memory=True)
    if not trust_remote_code:
        raise _unknown_metric(name)
    import evaluate

    try:
        return evaluate.load(name)
    except Exception as error:  # network, cache and the metric's own code fail in their own ways
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise RecipeError(
            f"task.metric: evaluate.load cannot load {name!r}: {lines[0]}; ours are {', '.join(OWN_METRICS)}"
        ) from error


def flatten_result(name: str, result: Any) -> dict[str, float]:
    """Return what a metric computed as numbers: the one that leads under ``name``, any further as ``name_key``.

    Leads what is called ``name``, else the first number. Lists and arrays give a number per item, ``name_key_0``;
    what is neither, such as a text, is left out. Raises ``RecipeError`` where there is no number at all.
    """
    numbers = dict(_numbers("", result if isinstance(result, Mapping) else {name: result}))
    if not numbers:
        raise RecipeError(f"task.metric: {name} gives no number, but {shown(result)}; use another metric")
    leading = name if name in numbers else next(iter(numbers))
    others = {f"{name}_{key}": value for key, value in numbers.items() if key != leading}
    return {name: numbers[leading], **others}


def _numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (int, float)):
        yield key, float(value)
    elif isinstance(value, (Mapping, list, tuple)):
        for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _numbers(f"{key}_{name}" if key else str(name), item)


def _unknown_metric(name: str) -> RecipeError:
    return RecipeError(
        f"task.metric: must be one of {', '.join(OWN_METRICS)}, got {name!r}; any other is fetched by evaluate.load "
        "and runs its code, which task.trust_remote_code: true allows"
    )
