"""The state of one stage, read from its artifact, its half-done work, and what its fingerprint should be now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pipeline.artifacts.asked import asked_of
from pipeline.artifacts.digests import DigestCache
from pipeline.artifacts.fingerprint import MODEL_SEED, Change, derive_seed, explain, fingerprint, stage_document
from pipeline.artifacts.hub import HubCommits
from pipeline.artifacts.identity import Identities
from pipeline.artifacts.run import Artifact, Run
from pipeline.artifacts.sealed import digest
from pipeline.artifacts.stage_folders import folder_name
from pipeline.errors import ArtifactError, RecipeError
from pipeline.recipe.sources import ModelSource
from pipeline.recipe.stage_lookup import load_stage
from pipeline.runner.work import StageWork, is_redo_asked

if TYPE_CHECKING:
    from pipeline.recipe import Recipe
    from pipeline.stage import Stage

State = Literal["fresh", "stale", "missing", "half-done", "depends", "damaged"]
SOURCE = "source"
INPUTS = ("parent", "teacher")


@dataclass(frozen=True)
class StagePlan:
    """One stage: what is there of it, and in ``reasons`` why it is not fresh.

    ``depends``: whether it must run shows when an earlier stage has run. ``half-done``: it resumes. ``damaged``: it
    is refused until it is redone.
    """

    name: str
    uses: str
    state: State
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.state}" + (f" ({'; '.join(self.reasons)})" if self.reasons else "")


@dataclass(frozen=True)
class Teacher:
    """Where a stage's teacher comes from: an earlier ``stage``, or a ``source`` to load."""

    stage: str | None = None
    source: ModelSource | None = None


class Inspector:
    """Knows of one recipe and one run folder what each stage should be made from, and whether it is."""

    def __init__(self, recipe: Recipe, run: Run, stage_types: Mapping[str, Any]) -> None:
        self.recipe = recipe
        self.run = run
        self.stages: tuple[Stage, ...] = tuple(load_stage(stage_types[stage.uses]) for stage in recipe.stages)
        self.identities = Identities(DigestCache(run.path), HubCommits(run.path))

    @cached_property
    def data(self) -> dict[str, Any]:
        """The identity of the data set."""
        task = self.recipe.task
        return self.identities.dataset(task.dataset, images=task.image if task.type == "image-classification" else None)

    def first_model(self, source: ModelSource | None = None) -> dict[str, Any]:
        """Return the identity of the model a source gives (the recipe's by default), its random parts included."""
        identity = self.identities.model(source or self.recipe.model)
        return {"model": identity, "seed": derive_seed(self.recipe.seed, MODEL_SEED)}

    def parent(self, index: int) -> str | None:
        """Return the name of the stage whose model the stage at ``index`` starts from; None for the first."""
        return self.recipe.stages[index - 1].name if index else None

    def teacher(self, index: int) -> Teacher | None:
        """Return where the teacher comes from, None if the stage needs none; ``RecipeError`` if there is nobody."""
        stage = self.recipe.stages[index]
        if not self.stages[index].needs_teacher(stage.config):
            return None
        asked = stage.config.teacher
        earlier = [before.name for before in self.recipe.stages[:index]]
        if asked is None:
            able = [name for name, kind in zip(earlier, self.stages, strict=False) if kind.provides_teacher]
            if not able:
                raise RecipeError(
                    f"stages.{stage.name}.teacher: missing, and no stage before it gives one; "
                    "name an earlier stage, 'source', a model folder or a hub id"
                )
            return Teacher(stage=able[-1])
        if asked in earlier:
            return Teacher(stage=asked)
        if asked in (later.name for later in self.recipe.stages):
            raise RecipeError(f"stages.{stage.name}.teacher: must be a stage before it, got {asked}")
        return Teacher(source=self.recipe.model if asked == SOURCE else ModelSource(pretrained=asked))

    def needed_stages(self, index: int) -> list[str]:
        """Return the names of the stages whose artifacts the stage at ``index`` is made from."""
        teacher = self.teacher(index)
        names = (self.parent(index), teacher.stage if teacher else None)
        return list(dict.fromkeys(name for name in names if name is not None))

    def document(self, index: int) -> dict[str, Any]:
        """Return what the output of the stage depends on; the artifacts it is made from must be there."""
        return self._document(index, self.run.artifacts(), unknown=())

    def inputs(self, index: int) -> dict[str, Any]:
        """Return the parent and the teacher as the manifest records them: name and digest of their content."""
        document, teacher = self.document(index), self.teacher(index)
        inputs = {"parent": {"stage": self.parent(index), "content": digest(document["parent"])}}
        if teacher is not None:
            inputs["teacher"] = {"stage": teacher.stage, "content": digest(document["teacher"])}
        return inputs

    def asked(self) -> dict[str, Any]:
        """Return what each stage is to be made from, by its name, as far as the recipe and the data tell.

        A stage without the teacher that it needs is left out: that is told when its turn comes.
        """
        asked: dict[str, Any] = {}
        for index, stage in enumerate(self.recipe.stages):
            try:
                teacher = self.teacher(index)
            except RecipeError:
                continue
            inputs = {"parent": self.parent(index), **({} if teacher is None else {"teacher": teacher.stage})}
            parent = self.first_model() if index == 0 else {}
            asked[stage.name] = asked_of(self._stage_document(index, parent=parent, teacher=None), inputs)
        return asked

    def stages_held_by(self, run: Run) -> list[str]:
        """Return the stages, from the first on, that another run holds as this recipe makes them; reads manifests."""
        found, held = run.artifacts(), list[str]()
        for index, stage in enumerate(self.recipe.stages):
            if not {stage.name, *self.needed_stages(index)} <= set(found):
                break
            if found[stage.name].manifest.fingerprint != fingerprint(self._document(index, found, unknown=())):
                break
            held.append(stage.name)
        return held

    def inspect(self, index: int, unsettled: Collection[str] = ()) -> StagePlan:
        """Return the state of the stage, given the names of earlier stages whose artifacts will change."""
        stage, found = self.recipe.stages[index], self.run.artifacts()
        artifact = found.get(stage.name)
        waits = [name for name in self.needed_stages(index) if name in unsettled or name not in found]
        try:
            document = self._document(index, found, unknown=waits)
            state, reasons = self._state(index, artifact, document, waits)
            if state != "fresh":
                self._check_place(index, artifact)
        except ArtifactError as error:
            state, reasons = "damaged", [str(error)]
        return StagePlan(stage.name, stage.uses, state, tuple(reasons))

    def _state(
        self, index: int, artifact: Artifact | None, document: dict[str, Any], waits: list[str]
    ) -> tuple[State, list[str]]:
        depends = [f"depends on {name}" for name in waits]
        now = fingerprint(document)
        is_half_done = not waits and StageWork(self.run.path, self.recipe.stages[index].name).is_half_done(now)
        is_asked = artifact is not None and is_redo_asked(self.run, artifact)
        if artifact is None or is_asked:
            reasons = ["to be redone, as --from asked"] if is_asked else []
            return ("half-done" if is_half_done else "stale" if is_asked else "missing"), [*reasons, *depends]
        reasons = self._reasons(index, artifact.manifest.document, document, known=not waits)
        if is_half_done and reasons:
            return "half-done", reasons
        if reasons or waits:
            return ("stale" if reasons else "depends"), [*depends, *reasons]
        artifact.verify(self.identities.files)
        return "fresh", []

    def _check_place(self, index: int, artifact: Artifact | None) -> None:
        """Raise ``ArtifactError`` where the stage could not be committed, for something else is in its place."""
        place = self.run.path / folder_name(index, self.recipe.stages[index].name)
        if place.exists() and (artifact is None or artifact.path != place):
            raise ArtifactError(
                f"{place}: must be free for the stage it is named by; move what is there out of the run"
            )

    def _document(self, index: int, found: Mapping[str, Artifact], unknown: Collection[str]) -> dict[str, Any]:
        """Return the document, in which an artifact that is ``unknown`` counts as an empty one."""
        parent, teacher = self.parent(index), self.teacher(index)

        def content(name: str) -> dict[str, str]:
            return {} if name in unknown else found[name].content()

        return self._stage_document(
            index,
            parent=self.first_model() if parent is None else content(parent),
            teacher=None
            if teacher is None
            else (self.first_model(teacher.source) if teacher.stage is None else content(teacher.stage)),
        )

    def _stage_document(
        self, index: int, *, parent: Mapping[str, Any], teacher: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        return stage_document(
            self.recipe.stages[index],
            version=self.stages[index].version,
            seed=self.recipe.seed,
            task=self.recipe.task,
            data=self.data,
            parent=parent,
            teacher=teacher,
            budget=self.recipe.stage_budget(index),
        )

    def _reasons(self, index: int, old: Mapping[str, Any], new: Mapping[str, Any], *, known: bool) -> list[str]:
        """Return what changed, by the recipe's names; without the contents of parent and teacher if not yet known."""
        changes = explain(old, new) if known else explain(_own(old), _own(new))
        return [str(Change(self._field(index, change.field), change.old, change.new)) for change in changes]

    def _field(self, index: int, field: str) -> str:
        head, _, rest = field.partition(".")
        teacher = self.teacher(index)
        names = {
            "config": f"stages.{self.recipe.stages[index].name}",
            "data": "task.dataset",
            "parent": self.parent(index) or "model",
            "teacher": (teacher.stage if teacher else None) or "teacher",
        }
        return ".".join(part for part in (names.get(head, head), rest) if part)


def _own(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in INPUTS}
