"""The rules between packages: who may import whom, and what light commands must not import."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.api import run

ROOT = Path(__file__).parent.parent
HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "evaluate",
    "accelerate",
    "sklearn",
    "scipy",
    "pandas",
    "pyarrow",
    "matplotlib",
)
COMPOSITION_ROOT = Path("pipeline/api.py")
SMALL_RECIPE = {
    "name": "small",
    "model": {
        "config": {
            "model_type": "bert",
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
        }
    },
    "task": {"type": "text-classification", "dataset": {"builtin": "grammar", "rows": 8}, "text": "text"},
    "training": {"mixed_precision": "no", "progress": False},
    "stages": [{"uses": "finetune", "steps": 1}],
}
LIGHT = """
import json, os, sys

seen = {}

def note(step):
    seen[step] = [name for name in HEAVY if name in sys.modules]

import pipeline
from pipeline import Recipe, Run, load_recipe, plan, run, status
note("import pipeline")
from stages import STAGES
load_recipe("quickstart", stages=STAGES).dump()
note("recipe")
plan("quickstart", runs_dir=RUNS)
note("plan")
status(runs_dir=RUNS, verify=True)
note("status")
from pipeline import cli
sys.stdout = sys.stderr = open(os.devnull, "w")
try:
    cli.main(["run", RECIPE, "--runs-dir", RUNS])
except SystemExit as stopped:
    seen["exit"] = stopped.code
note("a run in which everything is fresh")
print(json.dumps(seen), file=sys.__stdout__)
"""


def imported(path):
    """Return the top-level packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def sources(package):
    return {path.relative_to(ROOT): imported(path) for path in sorted((ROOT / package).rglob("*.py"))}


def test_only_the_composition_root_imports_the_algorithms():
    assert [path for path, names in sources("pipeline").items() if "stages" in names] == [COMPOSITION_ROOT]


def test_neither_package_imports_tests_or_benchmarks():
    for package in ("pipeline", "stages"):
        for path, names in sources(package).items():
            assert not names & {"tests", "benchmarks", "notebooks", "pytest"}, path


def test_imports_are_absolute_outside_the_code_that_travels_with_checkpoints():
    for package in ("pipeline", "stages"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.parent.name != "condensed":
                tree = ast.parse(path.read_text("utf-8"))
                assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level], path


def test_stages_can_be_listed_and_loaded_without_what_is_heavy_at_their_top():
    """Only the files that ``load_stage`` reads: the package, its config, its stage."""
    for stage in ("finetune", "prune_heads", "distill", "prune_ffn", "sparsify"):
        for name in ("__init__", "config", "stage"):
            tree = ast.parse((ROOT / "stages" / stage / f"{name}.py").read_text("utf-8"))
            top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
            names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
            names |= {str(node.module) for node in top if isinstance(node, ast.ImportFrom)}
            assert not {found.partition(".")[0] for found in names} & set(HEAVY), (stage, name)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a light process had imported after each step, on a run that is finished."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "recipe.yaml").write_text(json.dumps(SMALL_RECIPE))
    run(folder / "recipe.yaml", runs_dir=folder / "runs")
    values = f"HEAVY = {HEAVY!r}\nRUNS = {str(folder / 'runs')!r}\nRECIPE = {str(folder / 'recipe.yaml')!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", values + LIGHT],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("step", ["import pipeline", "recipe", "plan", "status", "a run in which everything is fresh"])
def test_light_work_imports_nothing_heavy(seen, step):
    assert seen[step] == []


def test_a_run_in_which_everything_is_fresh_succeeds(seen):
    assert seen["exit"] == 0
