"""A run folder and the artifacts in it, as readers see them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.asked import is_as_asked, read_asked
from pipeline.artifacts.commands import run_command
from pipeline.artifacts.commit import MANIFEST, needs_recovery, recover
from pipeline.artifacts.digests import DigestCache, file_digest
from pipeline.artifacts.layout import HISTORY, KEEP_PLAN, MODEL, RECIPE, SCORES, TOTAL_KEEP_PLAN
from pipeline.artifacts.lock import RunLock, holder
from pipeline.artifacts.manifest import Manifest, list_files
from pipeline.artifacts.sealed import digest
from pipeline.artifacts.stage_folders import stage_folders
from pipeline.artifacts.views import ArtifactViews, RunViews
from pipeline.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pipeline.surgery.keep_plan import KeepPlan


@dataclass(frozen=True)
class Artifact(ArtifactViews):
    """The committed, read-only output of one stage."""

    path: Path
    name: str

    @property
    def model_dir(self) -> Path:
        """The Hugging Face folder: config, weights, tokenizer or image processor, and code where it is condensed."""
        return self.path / MODEL

    @cached_property
    def manifest(self) -> Manifest:
        """What the artifact is; raises ``ArtifactError`` when the file is missing or a byte of it differs."""
        path = self.path / MANIFEST
        try:
            return Manifest.from_bytes(path.read_bytes())
        except (OSError, ValueError) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be trusted: {error}"
            raise ArtifactError(f"{path} {reason}; {self.how_to_redo()}") from error

    @property
    def metrics(self) -> dict[str, float]:
        """Every number measured on the committed model."""
        return dict(self.manifest.metrics)

    @property
    def keep_plan(self) -> KeepPlan | None:
        """What the stage kept, relative to its parent's model; None for a stage that cuts nothing."""
        return self._read_plan(KEEP_PLAN)

    @property
    def total_keep_plan(self) -> KeepPlan | None:
        """What is left of the first model; None where nothing was cut yet."""
        return self._read_plan(TOTAL_KEEP_PLAN)

    def content(self) -> dict[str, str]:
        """Return ``{path: sha256}`` of what a later stage reads: weights, config, keep plan, tokenizer files.

        The model card (it carries latencies), the model's code (versioned by its stage) and the logs are no input.
        """
        return {
            path: value
            for path, value in self.manifest.files.items()
            if path == TOTAL_KEEP_PLAN
            or (path.startswith(f"{MODEL}/") and path != f"{MODEL}/README.md" and not path.endswith(".py"))
        }

    def content_digest(self) -> str:
        """Return one digest of ``content()``."""
        return digest(self.content())

    def load_model(self) -> PreTrainedModel:
        """Return the model in evaluation mode, after checking the artifact's files."""
        from pipeline.models import load_model

        self.verify()
        return load_model(self.model_dir, str(self.manifest.details["auto_model"]))

    def tensors(self) -> dict[str, Tensor]:
        """Return the stage's scores or importances by name; empty where it has none."""
        from safetensors.torch import load_file

        path = self.path / SCORES
        return load_file(path) if path.exists() else {}

    def history(self) -> list[dict[str, Any]]:
        """Return the logged lines, oldest first."""
        path = self.path / HISTORY
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def verify(self, cache: DigestCache | None = None) -> None:
        """Raise ``ArtifactError`` naming the first file that is missing, added, or differs from what was committed.

        With ``cache``, files whose size, times and inode are those remembered are not read again.
        """
        expected = dict(self.manifest.files)
        present = {path.relative_to(self.path).as_posix(): path for path in list_files(self.path)}
        for name in sorted({*expected, *present}):
            if name not in present:
                raise ArtifactError(f"{self.path / name} is missing; {self.how_to_redo()}")
            if name not in expected:
                raise ArtifactError(
                    f"{self.path / name} is no part of the artifact: delete it, or {self.how_to_redo()}"
                )
            if cache is not None and cache.digest(present[name]) == expected[name]:
                continue
            if file_digest(present[name]) != expected[name]:
                raise ArtifactError(f"{self.path / name} is damaged; {self.how_to_redo()}")

    def how_to_redo(self) -> str:
        """Return the command that makes this artifact anew, as the end of a message."""
        return f"redo it with: {run_command(self.path.parent, self.name)}"

    def _read_plan(self, name: str) -> KeepPlan | None:
        from pipeline.surgery.keep_plan import KeepPlan

        path = self.path / name
        return KeepPlan.from_json(json.loads(path.read_bytes())) if path.exists() else None


@dataclass(frozen=True)
class Run(RunViews):
    """A run folder: the resolved recipe and an artifact per committed stage."""

    path: Path

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Return the run at ``path``, a commit that a crash cut short finished or undone unless it is being written."""
        run = cls(Path(path))
        if not run.path.is_dir():
            raise ArtifactError(f"{run.path}: no such run folder; the first `pruneline run` makes it")
        if needs_recovery(run.path) and holder(run.path) is None:
            with RunLock(run.path):
                recover(run.path)
        return run

    @property
    def name(self) -> str:
        """The run's name, which is its folder's."""
        return self.path.absolute().name

    @property
    def recipe_text(self) -> str:
        """The resolved recipe of the last run, as YAML."""
        return (self.path / RECIPE).read_text("utf-8")

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the committed stages, in the recipe's order; those the recipe no longer has are left out."""
        found = self.artifacts()
        if not (self.path / RECIPE).exists():
            return tuple(found)
        return tuple(name for name in _stage_names(self.recipe_text) if name in found)

    def artifacts(self) -> dict[str, Artifact]:
        """Return every committed artifact by its stage's name, in the order of the folders.

        Raises ``ArtifactError`` where two folders are of one stage.
        """
        return {name: Artifact(folder, name) for name, folder in stage_folders(self.path).items()}

    def __contains__(self, name: str) -> bool:
        return name in self.artifacts()

    def __getitem__(self, name: str) -> Artifact:
        found = self.artifacts()
        if name not in found:
            raise ArtifactError(f"{self.path}: no stage {name!r} is committed; there are: {', '.join(found) or 'none'}")
        return found[name]

    def outdated(self) -> tuple[str, ...]:
        """Return the stages made by other settings than the recipe's, or from a stage redone since with other content.

        What the recipe asks is what the last run noted; data that changed after it are not read.
        """
        found, asked = self.artifacts(), read_asked(self.path)
        return tuple(
            name
            for name in self.stages
            if not _inputs_are_present(found[name], found)
            or (name in asked and not is_as_asked(found[name].manifest, asked[name]))
        )


def _inputs_are_present(artifact: Artifact, found: dict[str, Artifact]) -> bool:
    return all(
        made_from["stage"] in found and found[made_from["stage"]].content_digest() == made_from["content"]
        for made_from in artifact.manifest.inputs.values()
        if made_from["stage"] is not None
    )


def _stage_names(recipe_text: str) -> list[str]:
    from ruamel.yaml import YAML

    recipe = YAML(typ="safe", pure=True).load(recipe_text)
    return [stage.get("name") or stage["uses"] for stage in recipe["stages"]]
