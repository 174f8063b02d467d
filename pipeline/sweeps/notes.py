"""Which field had which value in which run of a sweep: kept in its folder, added to by each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.artifacts.commit import write_file, writing
from pipeline.artifacts.sealed import read_sealed, seal
from pipeline.sweeps.combinations import Combination

NOTES_FILE = "sweep.json"


def note_values(folder: Path, combinations: Sequence[Combination]) -> None:
    """Write the combinations' values into ``folder``, made if need be, beside those noted before."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    noted = {combination.name: dict(combination.values) for combination in combinations}
    write_file(folder / NOTES_FILE, seal({"runs": {**read_values(folder), **noted}}))


def read_values(folder: Path) -> dict[str, Mapping[str, str]]:
    """Return the varied fields and their values by run; empty for a folder that no sweep was made in."""
    return dict(read_sealed(folder / NOTES_FILE).get("runs", {}))
