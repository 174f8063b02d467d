"""The card of a model: ``README.md`` in its folder, with the hub's metadata, what was cut and how, and the numbers."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from pipeline.recipe.training import StageConfig
from pipeline.reporting.layout import (
    MISSING,
    format_count,
    format_metric,
    format_number,
    format_share,
    format_speedup,
    markdown_table,
)
from pipeline.reporting.report import flat
from pipeline.reporting.scores import split_and_metric, split_scores, spoken
from pipeline.reporting.units import KINDS, units_per_layer

if TYPE_CHECKING:
    from pipeline.recipe import Recipe, StageRecipe
    from pipeline.surgery.keep_plan import KeepPlan

TRAINED = ("epochs", "steps", "learning_rate", "batch_size")
PROCESSORS = {"image-classification": "AutoImageProcessor"}
COSTS = (
    ("encoder sparsity", "encoder_sparsity", format_share),
    ("encoder parameters", "encoder_parameters", format_count),
    ("parameters", "parameters", format_count),
    ("MACs per row", "macs", format_count),
    ("zeros in the weights touched", "weight_sparsity", format_share),
    ("zeros in all matrix weights", "matmul_sparsity", format_share),
    ("bytes of weights", "size_bytes", format_count),
    ("bytes gzipped", "size_gzip_bytes", format_count),
    ("latency, batch 1, ms", "latency_b1_ms", format_number),
    ("95th percentile", "latency_b1_p95_ms", format_number),
    ("speed-up, batch 1", "speedup_b1", format_speedup),
    ("latency, batch 32, ms", "latency_b32_ms", format_number),
    ("95th percentile", "latency_b32_p95_ms", format_number),
    ("speed-up, batch 32", "speedup_b32", format_speedup),
)
TIMING = (
    "Latency: median and 95th percentile over forward passes on real rows in float32; speed-up against the "
    "run's model before any cut, measured in turns in one process. Encoder sparsity is the share of the parameters "
    "inside the transformer layers that was removed."
)


def write_card(
    folder: Path,
    *,
    recipe: Recipe,
    stage: str,
    auto_model: str,
    metrics: Mapping[str, float],
    keep_plan: KeepPlan | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``README.md`` beside the saved model in ``folder`` and return its path.

    ``stage`` is the name of the stage that made the model, ``keep_plan`` the one relative to the first model,
    ``metrics`` and ``environment`` what its manifest will hold.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    template = resources.files("pipeline.reporting").joinpath("model_card.md.j2").read_text(encoding="utf-8")
    text = (
        Environment(undefined=StrictUndefined, keep_trailing_newline=True)
        .from_string(template)
        .render(
            _facts(recipe, stage, metrics, config),
            auto_model=auto_model,
            auto_processor=PROCESSORS.get(recipe.task.type, "AutoTokenizer"),
            location="path/to/this/folder",
            layers=_layers_table(keep_plan),
            environment=list(flat(environment or {})),
        )
    )
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def _facts(recipe: Recipe, stage: str, metrics: Mapping[str, float], config: Mapping[str, Any]) -> dict[str, Any]:
    names = [entry.name for entry in recipe.stages]
    done = recipe.stages[: names.index(stage) + 1]
    sparsity = metrics.get("encoder_sparsity", 0.0)
    return {
        "metadata": _yaml(card_metadata(recipe, stage, metrics, config)),
        "title": f"{recipe.name}, after {stage}",
        "model_type": config["model_type"],
        "pipeline_tag": recipe.task.type,
        "removed": format_share(sparsity) if sparsity > 0 else "",
        "zeros": format_share(metrics["weight_sparsity"]) if _has_zeros(metrics) else "",
        "undone": [] if _has_zeros(metrics) else [entry.name for entry in done[:-1] if _makes_zeros(entry.config)],
        "source": _source(recipe),
        "data": _dataset_name(recipe),
        "stages": [entry.name for entry in done],
        "custom_code": "auto_map" in config,
        "how": [_how(entry) for entry in done],
        "measured": _measured(metrics, recipe.task.validation),
        "timing": TIMING if "latency_b1_ms" in metrics else "",
    }


def card_metadata(
    recipe: Recipe, stage: str, metrics: Mapping[str, float], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the front matter as the hub reads it: task, origin, tags, and the scores as a model index."""
    dataset = recipe.task.dataset
    metadata: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": recipe.task.type}
    if recipe.model.pretrained and _is_hub_id(recipe.model.pretrained):
        metadata["base_model"] = recipe.model.pretrained
    if dataset.path and _is_hub_id(dataset.path):
        metadata["datasets"] = [dataset.path]
    metadata["tags"] = [
        "pruneline",
        "pruned" if metrics.get("encoder_sparsity", 0.0) > 0 else "sparse" if _has_zeros(metrics) else "dense",
        config["model_type"],
    ]
    scores = _scores(metrics, recipe.task.validation)
    if scores:
        metadata["metrics"] = sorted({metric for _, metric, _ in scores})
        metadata["model-index"] = [{"name": f"{recipe.name}-{stage}", "results": _results(recipe, scores)}]
    return metadata


def _results(recipe: Recipe, scores: Sequence[tuple[str, str, float]]) -> list[dict[str, Any]]:
    dataset = recipe.task.dataset
    described = {"type": dataset.path or dataset.builtin or "local", "name": _dataset_name(recipe)}
    if dataset.path and dataset.name:
        described["config"] = dataset.name
    return [
        {
            "task": {"type": recipe.task.type},
            "dataset": {**described, "split": split},
            "metrics": [{"type": metric, "value": value} for of, metric, value in scores if of == split],
        }
        for split in dict.fromkeys(split for split, _, _ in scores)
    ]


def _scores(metrics: Mapping[str, float], splits: Sequence[str]) -> list[tuple[str, str, float]]:
    """Return split, metric and value of every finite score, rounded to what a hub page shows."""
    finite = {name: value for name, value in split_scores(metrics).items() if math.isfinite(value)}
    return [(*split_and_metric(name, splits), round(value, 4)) for name, value in finite.items()]


def _layers_table(keep_plan: KeepPlan | None) -> str:
    rows = [
        [f"{stack} {layer}", *(f"{kept[kind][0]} of {kept[kind][1]}" if kind in kept else MISSING for kind in KINDS)]
        for (stack, layer), kept in units_per_layer(keep_plan or {}).items()
    ]
    return markdown_table(["layer", "heads kept", "FFN channels kept"], rows) if rows else ""


def _measured(metrics: Mapping[str, float], splits: Sequence[str]) -> str:
    scores = [[spoken(name, splits), format_metric(name, value)] for name, value in split_scores(metrics).items()]
    costs = [[label, write(metrics[name])] for label, name, write in COSTS if name in metrics]
    return markdown_table(["", "value"], [*scores, *costs])


def _how(entry: StageRecipe) -> str:
    own = [name for name in type(entry.config).model_fields if name not in StageConfig.model_fields]
    uses = entry.name if entry.name == entry.uses else f"{entry.name} ({entry.uses})"
    return f"{uses}: {_told(entry.config, [*TRAINED, *own])}"


def _told(settings: BaseModel, names: Iterable[str]) -> str:
    """Return the settings that have a value, as ``sparsity 0.5, distill (temperature 2.0, …)``."""
    told = []
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            told.append(f"{name} ({_told(value, type(value).model_fields)})")
        elif isinstance(value, tuple) and all(isinstance(part, BaseModel) for part in value):
            told += [f"{name} ({_told(part, type(part).model_fields)})" for part in value]
        elif value is not None:
            told.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(told)


def _has_zeros(metrics: Mapping[str, float]) -> bool:
    return metrics.get("weight_sparsity", 0.0) > 0


def _makes_zeros(config: StageConfig) -> bool:
    return getattr(config, "pattern_lock", None) is False and getattr(config, "enabled", True)


def _source(recipe: Recipe) -> str:
    if recipe.model.pretrained is None:
        return f"a new {(recipe.model.config or {}).get('model_type', 'model')}"
    return recipe.model.pretrained if _is_hub_id(recipe.model.pretrained) else "a local model"


def _dataset_name(recipe: Recipe) -> str:
    dataset = recipe.task.dataset
    if dataset.builtin:
        return f"{dataset.builtin} (generated or bundled)"
    if dataset.path and _is_hub_id(dataset.path):
        return f"{dataset.path} {dataset.name}" if dataset.name else dataset.path
    return "local data"


def _is_hub_id(name: str) -> bool:
    """Say whether ``name`` is a repository on the hub: ``owner/name``, and no folder here."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).exists()


def _yaml(document: dict[str, Any]) -> str:
    """Return YAML that 1.1 and 1.2 readers read alike: every string is quoted."""
    yaml, text = YAML(), io.StringIO()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.dump(_quoted(document), text)
    return text.getvalue()


def _quoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _quoted(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_quoted(part) for part in value]
    return DoubleQuotedScalarString(value) if isinstance(value, str) else value
