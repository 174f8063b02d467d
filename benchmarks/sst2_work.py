"""The SST-2-20k work: all-MiniLM-L6-v2 with a new two-way head, on the first 20,000 rows of a split of SST-2."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

RECIPES = ("minilm-sst2", "minilm-sst2-fast")
FILES = {"train": "train_20k.jsonl", "validation": "validation.jsonl", "heldout": "heldout.jsonl"}


def sst2_recipe(data: Path, model: Path, *, extends: str = RECIPES[0]) -> dict[str, Any]:
    """Return the work as a recipe: the shipped one called ``extends``, with this model and these rows."""
    for path in (model, *(data / name for name in FILES.values())):
        if not path.exists():
            raise SystemExit(f"{path}: no such file or folder; --data must hold {', '.join(FILES.values())}")
    return {
        "extends": extends,
        "name": f"sst2-20k-{extends}",
        "seed": 42,
        "model": str(model),
        "task": {
            "dataset": {"path": "json", "data_files": {split: str(data / name) for split, name in FILES.items()}},
            "text": "sentence",
            "label": "label",
            "train": "train",
            "validation": ["validation", "heldout"],
            "metric": "accuracy",
            "max_length": 128,
        },
        "training": {"evaluate_every": None},
    }


def add_work_arguments(
    parser: argparse.ArgumentParser, *, required: bool = True, holds: str = ", ".join(FILES.values())
) -> None:
    """Add what every benchmark on this work, or on one whose data folder ``holds`` other files, asks for."""
    parser.add_argument("--data", type=Path, required=required, help=f"folder with {holds}")
    parser.add_argument("--model", type=Path, required=required, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--record", action="store_true", help="append the result to RESULTS.md")
