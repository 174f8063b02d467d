import copy
import subprocess
import sys
from dataclasses import replace

import pytest

from pipeline.errors import DataError, RecipeError
from pipeline.recipe import StageRecipe, load_recipe
from pipeline.runner import build_plan, describe_runs


def changed(machine, path, value):
    """Return the default recipe with the dotted ``path`` set."""
    document = copy.deepcopy(machine.recipe())
    *parents, last = path.split(".")
    at = document
    for name in parents:
        at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
    at[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "expected", "reason"),
    [
        ("seed", 8, ["stale", "stale", "stale"], "seed: 7 → 8"),
        ("stages.0.add", 2.5, ["stale", "depends", "depends"], "stages.train.add: 1.0 → 2.5"),
        ("stages.1.learning_rate", 1e-4, ["fresh", "stale", "depends"], "stages.cut.learning_rate: 3e-05 → 0.0001"),
        ("stages.2.epochs", 2, ["fresh", "fresh", "stale"], "stages.recover.epochs: 1.0 → 2.0"),
        ("stages.2.warmup", 3, ["fresh", "fresh", "stale"], "stages.recover.warmup: 0 → 3"),
        ("training.batch_size", 16, ["stale", "stale", "stale"], "stages.train.batch_size: 32 → 16"),
        ("training.mixed_precision", "bf16", ["stale"] * 3, 'stages.train.mixed_precision: "auto" → "bf16"'),
        ("model.config.hidden_size", 32, ["stale", "depends", "depends"], "model.model.config.hidden_size: 16 → 32"),
        ("task.max_length", 64, ["stale", "stale", "stale"], "task.max_length: 128 → 64"),
        ("task.metric", ["accuracy", "f1"], ["stale"] * 3, 'task.metric: ["accuracy"] → ["accuracy", "f1"]'),
        ("task.select", 0.1, ["stale"] * 3, "task.select: null → 0.1"),
        ("stages.2.teacher", "train", ["fresh"] * 3, None),
        ("stages.1.teacher", "train", ["fresh"] * 3, None),
        ("training.evaluate_every", 0.5, ["fresh"] * 3, None),
        ("training.log_every", 3, ["fresh"] * 3, None),
        ("training.save_seconds", 3, ["fresh"] * 3, None),
        ("training.save_share", 0.5, ["fresh"] * 3, None),
        ("training.progress", False, ["fresh"] * 3, None),
        ("name", "other", ["fresh"] * 3, None),
        ("task.trust_remote_code", True, ["fresh"] * 3, None),
    ],
)
def test_a_changed_field_makes_its_stage_stale_and_those_after_it_depend(machine, path, value, expected, reason):
    machine.run()

    plan = machine.plan(changed(machine, path, value))

    assert machine.states(plan) == expected
    told = [reason for stage in plan.stages if stage.state == "stale" for reason in stage.reasons]
    assert told == [] if reason is None else reason in told


def test_evaluations_do_not_count_where_the_best_epoch_is_chosen_since_it_is_judged_after_each_epoch(machine):
    task = {**machine.recipe()["task"], "select": 0.5}
    machine.run(machine.recipe(task=task))

    assert machine.plan(machine.recipe(task=task, training={"epochs": 1, "evaluate_every": 2})).is_fresh


def test_changed_data_makes_every_stage_stale(machine, tmp_path):
    machine.run()
    (tmp_path / "train.jsonl").write_text('{"text": "c", "label": 0}\n')

    plan = machine.plan()

    assert machine.states(plan) == ["stale"] * 3
    assert plan.stages[0].reasons[0].startswith("task.dataset.files.train: [")


def test_moved_data_of_equal_content_changes_nothing(machine, tmp_path):
    machine.run()
    (tmp_path / "data").mkdir()
    (tmp_path / "train.jsonl").rename(tmp_path / "data" / "first.jsonl")

    assert machine.plan(changed(machine, "task.dataset.data_files.train", "data/first.jsonl")).is_fresh


def test_data_that_is_gone_since_the_recipe_was_read_is_named(machine, tmp_path):
    recipe = load_recipe(machine.recipe(), stages=machine.STAGES)
    (tmp_path / "train.jsonl").unlink()

    with pytest.raises(DataError, match=r"task\.dataset\.data_files\.train: no such file: train\.jsonl"):
        build_plan(recipe, "runs/dummy", machine.STAGES)


def test_changed_version_is_stale_and_not_broken(machine):
    machine.run()

    class NewCut(machine.Cut):
        version = 2

    plan = machine.plan(stages={**machine.STAGES, "cut": NewCut})

    assert machine.states(plan) == ["fresh", "stale", "depends"]
    assert plan.stages[1].reasons == ("version: 1 → 2",)
    assert plan.stages[2].reasons == ("depends on cut",)


def test_own_changes_are_told_beside_the_stage_it_depends_on(machine):
    machine.run()
    both = machine.recipe({"uses": "train", "add": 2}, {"uses": "cut"}, {"uses": "train", "name": "recover", "add": 3})

    assert machine.plan(both).stages[2].reasons == ("depends on cut", "stages.recover.add: 1.0 → 3.0")


def test_another_teacher_makes_the_stage_stale(machine):
    stages = [{"uses": "train"}, {"uses": "train", "name": "more"}, {"uses": "cut"}]
    machine.run(machine.recipe(*stages))
    stages[2] = {"uses": "cut", "teacher": "source"}

    plan = machine.plan(machine.recipe(*stages))

    assert machine.states(plan) == ["fresh", "fresh", "stale"]
    assert any("teacher.model" in reason for reason in plan.stages[2].reasons)


@pytest.mark.parametrize(
    ("teacher", "problem"), [(None, "missing, and no stage before it gives one"), ("cut", "must be a stage before it")]
)
def test_stage_without_a_teacher_before_it_is_refused(machine, teacher, problem):
    cut = StageRecipe("cut", "cut", machine.DummyConfig(epochs=1, teacher=teacher))
    recipe = replace(load_recipe(machine.recipe(), stages=machine.STAGES), stages=(cut,))

    with pytest.raises(RecipeError, match=rf"stages\.cut\.teacher: {problem}"):
        build_plan(recipe, "runs/dummy", machine.STAGES)


def test_new_recipe_has_every_stage_missing_and_plan_writes_nothing(machine, tmp_path):
    before = sorted(tmp_path.rglob("*"))

    assert machine.states(machine.plan()) == ["missing"] * 3
    assert sorted(tmp_path.rglob("*")) == before


def test_from_shows_what_it_redoes(machine):
    machine.run()

    plan = machine.plan(from_stage="cut")

    assert machine.states(plan) == ["fresh", "stale", "stale"]
    assert plan.stages[1].reasons == ("redone by --from cut",)
    assert [stage.name for stage in plan.to_run] == ["cut", "recover"]


def test_status_tells_states_problems_and_damage(machine, tmp_path):
    run = machine.run()
    (status,) = describe_runs("runs", machine.STAGES)
    assert (status.name, status.problem, status.holder) == ("dummy", None, None)
    assert [stage.state for stage in status.stages] == ["fresh"] * 3

    card = run["cut"].model_dir / "README.md"
    card.chmod(0o644)
    card.write_text("other")
    (status,) = describe_runs("runs", machine.STAGES, verify=True)
    assert [stage.state for stage in status.stages] == ["fresh", "damaged", "depends"]

    (tmp_path / "train.jsonl").unlink()
    (status,) = describe_runs("runs", machine.STAGES)
    assert "train.jsonl" in status.problem
    assert [stage.name for stage in status.stages] == ["train", "cut", "recover"]


def test_planning_and_a_fresh_run_import_nothing_heavy(machine):
    machine.run()
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import dummy_machine as m; "
        "m.install(lambda modules, name, part: name.endswith('page') and modules.update({name: part})); m.run(); "
        "print([name for name in ('torch', 'transformers', 'datasets', 'evaluate', 'numpy') if name in sys.modules])"
    )

    command = [sys.executable, "-c", script, machine.__file__.rpartition("/")[0]]
    subprocess.run(command, capture_output=True, check=True)  # draws the page, which the dummies leave out
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
