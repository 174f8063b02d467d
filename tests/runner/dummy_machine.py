"""Stages, a model and a task without torch: a model is a list of numbers, a stage adds its own to it.

Run as a script, it runs the recipe in ``argv[1]`` (JSON) in the current folder, as a process of its own.
"""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

from pipeline.recipe import load_recipe
from pipeline.recipe.training import StageConfig
from pipeline.runner import build_plan, execute
from pipeline.stage import StageResult
from pipeline.surgery.keep_plan import KeepPlan, Kept

CALLS = []
"""The names of the stages that ran, in order, and of the models loaded for them."""


class DummyConfig(StageConfig):
    add: float = 1.0
    fail: bool = False


class Train:
    """Adds ``add`` to the parent's numbers; saves its progress first, and fails where it is told to."""

    Config = DummyConfig
    version: ClassVar[int] = 1
    provides_teacher: ClassVar[bool] = True

    def needs_teacher(self, config):
        return False

    def run(self, context):
        CALLS.append(context.name)
        save = context.work_dir / "checkpoint" / "save-000001"
        if save.exists():
            CALLS.append(f"{context.name} resumed")
        save.mkdir(parents=True, exist_ok=True)
        context.log(1, loss=0.5)
        if context.config.fail:
            raise RuntimeError("asked to fail")
        numbers = [*context.load_model().numbers, context.config.add]
        return StageResult(model=SimpleNamespace(numbers=numbers), metrics={"before_cut/validation/accuracy": 0.5})


class Cut(Train):
    """Keeps half of the units of one group."""

    provides_teacher: ClassVar[bool] = False

    def needs_teacher(self, config):
        return True

    def run(self, context):
        result = super().run(context)
        CALLS.append(f"teacher {context.load_teacher().numbers}")
        before = context.parent_keep_plan
        of = 8 if before is None else len(before["encoder.0.heads"].units)
        plan = KeepPlan({"encoder.0.heads": Kept(of, tuple(range(0, of, 2)))})
        return StageResult(model=result.model, keep_plan=plan)


STAGES = {"train": Train, "cut": Cut}


class DummyModel(SimpleNamespace):
    def requires_grad_(self, flag):
        return self

    def eval(self):
        return self


class DummyTask:
    auto_model = "AutoModelForSequenceClassification"
    validation: ClassVar[dict] = {"validation": None}

    def check_model(self, model):
        pass

    def check_teacher(self, model, source):
        pass

    def main_metric(self):
        return "accuracy"

    def save_processor(self, folder):
        (folder / "tokenizer.json").write_text('{"tokens": ["a", "b"]}\n')


def save_model(model, folder):
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "dummy"}\n')
    (folder / "model.safetensors").write_bytes(json.dumps(model.numbers).encode())


def load_model(folder, auto_model):
    return DummyModel(numbers=json.loads((folder / "model.safetensors").read_bytes()))


def write_card(folder, *, metrics, **others):
    (folder / "README.md").write_text(f"# A dummy\n\nlatency {metrics['latency_b1_ms']}\n")


def write_report(run):
    (run.path / "report.md").write_text("\n".join(run.stages) + "\n")


LATENCY = iter(range(1, 10**9))
PARTS = {
    "pipeline.models": {
        "source_model": lambda source, task, seed, is_teacher: DummyModel(numbers=[seed % 1000]),
        "load_model": load_model,
        "save_model": save_model,
    },
    "pipeline.tasks": {"build_task": lambda source, *, model, processor_dir, seed: DummyTask()},
    "pipeline.training.requirements": {"check_machine": lambda config, where: None},
    "pipeline.training.evaluation": {"evaluate": lambda model, task: {"validation/accuracy": sum(model.numbers) % 1.0}},
    "pipeline.reporting.profile": {
        "profile_stage": lambda model, reference, task, folder: {"latency_b1_ms": float(next(LATENCY))},
        "device_name": lambda: "a dummy device",
    },
    "pipeline.reporting.model_card": {"write_card": write_card},
    "pipeline.reporting.report": {"write_report": write_report},
    "pipeline.reporting.page": {"write_page": lambda run: None},
}


def install(set_item):
    """Put the dummies in place of the modules that import torch."""
    for name, parts in PARTS.items():
        module = ModuleType(name)
        module.__dict__.update(parts)
        set_item(sys.modules, name, module)


def recipe(*stages, **changes):
    """Return a recipe as a mapping: by default train, cut, train again."""
    return {
        "name": "dummy",
        "seed": 7,
        "model": {"config": {"model_type": "bert", "hidden_size": 16}},
        "task": {
            "type": "text-classification",
            "dataset": {"path": "json", "data_files": {"train": "train.jsonl", "validation": "validation.jsonl"}},
            "text": "text",
        },
        "training": {"epochs": 1},
        "stages": list(stages) or [{"uses": "train"}, {"uses": "cut"}, {"uses": "train", "name": "recover"}],
        **changes,
    }


def plan(source=None, *, run_dir="runs/dummy", **options):
    """Return the plan of a recipe (``recipe()`` by default)."""
    loaded = load_recipe(source or recipe(), stages=options.get("stages", STAGES))
    return build_plan(loaded, Path(run_dir), **{"stages": STAGES, **options})


def run(source=None, **options):
    """Run a recipe and return the run."""
    return execute(plan(source, **options))


def states(made):
    """Return the states of a plan's stages."""
    return [stage.state for stage in made.stages]


def digests(run_dir="runs/dummy"):
    """Return every file of a run folder, but its caches and its lock, with its bytes."""
    files = (
        path for path in Path(run_dir).rglob("*") if path.is_file() and path.name not in (".lock", ".digests.json")
    )
    return {str(path.relative_to(run_dir)): path.read_bytes() for path in files}


if __name__ == "__main__":
    install(dict.__setitem__)
    run(json.loads(sys.argv[1]), from_stage=sys.argv[2] if len(sys.argv) > 2 else None)
