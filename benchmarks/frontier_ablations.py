"""Ablations that are written down in a file, each a name and the settings it changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from frontier_runs import Ablation, checked_ablation
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


def read_ablations(path: Path, pick: Sequence[str] | None = None) -> list[Ablation]:
    """Return the ablations in a YAML file of ``NAME: [PATH=VALUE, …]``, or those called as ``pick`` says, in its order.

    Raises ``ValueError`` for what is no ablation, and for a pick that the file does not hold.
    """
    try:
        document = YAML(typ="safe", pure=True).load(path)
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not document:
        raise ValueError(f"{path}: must hold NAME: [PATH=VALUE, …]")
    known = [_ablation(path, name, settings) for name, settings in document.items()]
    missing = [name for name in pick or () if name not in document]
    if missing:
        raise ValueError(f"{path}: has no {missing[0]!r}; there are {', '.join(document)}")
    return [ablation for ablation in known if pick is None or ablation.name in pick]


def _ablation(path: Path, name: object, settings: object) -> Ablation:
    if not isinstance(name, str) or not isinstance(settings, list) or not all(isinstance(s, str) for s in settings):
        raise ValueError(f"{path}: must hold NAME: [PATH=VALUE, …], got {name}: {settings}")
    try:
        return checked_ablation(name, settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
