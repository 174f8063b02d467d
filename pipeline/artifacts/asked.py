"""What the recipe in a run folder asks each stage to be made from, kept so that readers can tell what is of another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.artifacts.commit import write_file
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.sealed import canonical, read_sealed, seal

ASKED_FILE = ".asked.json"
PARENT, TEACHER = "parent", "teacher"


def asked_of(document: Mapping[str, Any], inputs: Mapping[str, str | None]) -> dict[str, Any]:
    """Return what a stage is to be made from, as far as it is known before the stages before it have run.

    ``document`` is what its fingerprint hashes, ``inputs`` the stages (or None) that are its parent and its teacher:
    these count by their names alone, a first model in full.
    """
    left_out = {TEACHER} if inputs[PARENT] is None else {PARENT, TEACHER}
    return {
        "inputs": dict(inputs),
        "document": {key: value for key, value in document.items() if key not in left_out},
    }


def keep_asked(run_dir: Path, asked: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what is asked of each stage into the run folder, where it is other than what is there."""
    if canonical(read_asked(run_dir)) != canonical(asked):
        write_file(run_dir / ASKED_FILE, seal({"stages": asked}))


def read_asked(run_dir: Path) -> dict[str, Any]:
    """Return what is asked of each stage by its name; empty for a run that nothing was noted of."""
    return dict(read_sealed(run_dir / ASKED_FILE).get("stages", {}))


def is_as_asked(manifest: Manifest, asked: Mapping[str, Any]) -> bool:
    """Say whether an artifact was made from what is asked of its stage."""
    inputs = {role: made_from["stage"] for role, made_from in manifest.inputs.items()}
    return canonical(asked_of(manifest.document, inputs)) == canonical(asked)
