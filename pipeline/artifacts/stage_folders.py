"""Which folders of a run hold its stages: those named by an ordinal and the stage that their manifest names."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.artifacts.commit import MANIFEST
from pipeline.artifacts.manifest import Manifest
from pipeline.errors import ArtifactError

ORDINAL = re.compile(r"\d+-(?P<name>.+)")


def folder_name(index: int, stage: str) -> str:
    """Return what the folder of the stage at ``index`` is called."""
    return f"{index + 1:02d}-{stage}"


def stage_folders(run_dir: Path) -> dict[str, Path]:
    """Return the folder of every committed stage by the stage's name, in the order of the folders.

    Any other folder is not read, such as a copy under a longer name. One without a manifest that can be read counts
    as what it is called, so that it can be told of. Raises ``ArtifactError`` where two folders are of one stage.
    """
    found: dict[str, Path] = {}
    for folder in sorted(run_dir.iterdir()) if run_dir.is_dir() else ():
        match = ORDINAL.fullmatch(folder.name)
        if match is None or not folder.is_dir() or _stage_in(folder, match["name"]) != match["name"]:
            continue
        twin = found.setdefault(match["name"], folder)
        if twin != folder:
            raise ArtifactError(
                f"{run_dir}: {twin.name} and {folder.name} are both of the stage {match['name']}; "
                "move the one that is not to be used out of the run"
            )
    return found


def _stage_in(folder: Path, otherwise: str) -> str:
    try:
        return Manifest.from_bytes((folder / MANIFEST).read_bytes()).stage
    except (OSError, ValueError):
        return otherwise
