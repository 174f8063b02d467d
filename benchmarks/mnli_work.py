"""The MNLI-41k work: all-MiniLM-L6-v2 with a new three-way head, on the 41,295 training pairs of MNLI that are here.

There is one labelled file beside the training file, and published results are of just these rows: so all of it is
reported, as ``validation_matched``, and nothing is chosen on it. What settings are chosen on, ``heldout``, are the last
2,000 rows of the training file, which are not trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

EXTENDS = "minilm-sst2"
TRAIN, VALIDATION = "train_41k.jsonl", "validation_matched.jsonl"
NUM_HELDOUT = 2000


def mnli_recipe(data: Path, model: Path, folder: Path) -> dict[str, Any]:
    """Return the work as a recipe: the stages of the shipped one it extends, with this model and these rows.

    The two parts of the training file are written into ``folder``, unless they are there.
    """
    for path in (model, data / TRAIN, data / VALIDATION):
        if not path.exists():
            raise SystemExit(f"{path}: no such file or folder; --data must hold {TRAIN} and {VALIDATION}")
    files = {**divided(data / TRAIN, folder), "validation_matched": data / VALIDATION}
    return {
        "extends": EXTENDS,
        "name": f"mnli-41k-{EXTENDS}",
        "seed": 42,
        "model": str(model),
        "task": {
            "dataset": {"path": "json", "data_files": {split: str(path) for split, path in files.items()}},
            "text": ["premise", "hypothesis"],
            "label": "label",
            "train": "train",
            "validation": ["validation_matched", "heldout"],
            "metric": "accuracy",
            "max_length": 128,
        },
        "training": {"evaluate_every": None},
    }


def divided(source: Path, folder: Path) -> dict[str, Path]:
    """Write all rows of ``source`` but the last 2,000, and these, into ``folder``; return where they are, by split."""
    lines = source.read_bytes().splitlines(keepends=True)
    if len(lines) <= NUM_HELDOUT:
        raise SystemExit(f"{source}: must hold more rows than the {NUM_HELDOUT} that are held out, got {len(lines)}")
    parts = {"train": lines[:-NUM_HELDOUT], "heldout": lines[-NUM_HELDOUT:]}
    folder.mkdir(parents=True, exist_ok=True)
    paths = {split: folder / f"{split}.jsonl" for split in parts}
    for split, part in parts.items():
        content = b"".join(part)
        if not paths[split].exists() or paths[split].read_bytes() != content:
            written = folder / f"{split}.incomplete"
            written.write_bytes(content)
            written.replace(paths[split])
    return paths
