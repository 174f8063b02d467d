import json

import pytest

from pipeline import api, cli
from pipeline.errors import RecipeError
from pipeline.reporting.report import Report
from pipeline.sweeps.files import write_frontier
from pipeline.sweeps.points import collect_points

RECIPE = {
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
    "task": {"type": "text-classification", "dataset": {"builtin": "grammar", "rows": 40}, "text": "text"},
    "training": {"mixed_precision": "no", "progress": False, "batch_size": 8, "steps": 2},
    "stages": [{"uses": "finetune"}, {"uses": "prune_ffn", "sparsity": 0.5, "rounds": 1, "distill": None}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    runs_dir = tmp_path_factory.mktemp("runs")
    done = api.sweep(RECIPE, ["stages.prune_ffn.sparsity=0.25,0.75"], runs_dir=runs_dir)
    assert [outcome.shared for outcome in done.outcomes] == [(), ("finetune",)]
    return done.folder


def test_every_model_is_timed_once_and_the_rest_is_what_manifests_say(folder):
    found = api.frontier(folder, rounds=2)
    groups = {group.label: group for group in found.groups()}
    assert {label: len(group.points) for label, group in groups.items()} == {
        "dense": 1,
        "sparsity=0.25": 1,
        "sparsity=0.75": 1,
    }
    for point in found.points.points:
        metrics = point.artifact.metrics
        assert (point.score, point.macs) == (metrics["validation/accuracy"], metrics["macs"])
        assert point.latency_ms > 0
        dense = point.artifact.path.parent / "01-finetune" / "manifest.json"
        assert point.dense_score == json.loads(dense.read_text())["metrics"]["validation/accuracy"]
    assert found.rounds >= 2


def test_a_run_that_is_not_finished_is_left_out_and_named(folder, tmp_path):
    overrides = ["stages.prune_ffn.sparsity=0.6", "name=unfinished"]
    api.run(RECIPE, runs_dir=folder, overrides=overrides, until="finetune")
    found = api.frontier(folder, rounds=1)
    assert found.points.left_out == {"unfinished": "prune_ffn is still to be run"}
    with pytest.raises(RecipeError, match=r"no finished run to compare \(there is no run in it\)"):
        api.frontier(tmp_path)


def test_a_run_of_other_settings_than_its_recipes_is_left_out_and_marked(folder):
    overrides = ["stages.prune_ffn.sparsity=0.6", "name=changed"]
    api.run(RECIPE, runs_dir=folder, overrides=overrides)
    overrides[0] = "stages.prune_ffn.sparsity=0.7"
    run = api.run(RECIPE, runs_dir=folder, overrides=overrides, until="finetune")
    found, _ = collect_points(folder, api.STAGES)
    assert found.left_out["changed"] == "prune_ffn is still to be run"
    assert [row.stage for row in Report.from_run(run).rows if row.is_outdated] == ["prune_ffn"]
    assert "| prune_ffn * |" in (run.path / "report.md").read_text()


def test_runs_of_two_tasks_are_not_compared(folder, tmp_path):
    for name, length in (("a", 16), ("b", 32)):
        overrides = [f"name={name}", f"task.max_length={length}"]
        api.run({**RECIPE, "stages": RECIPE["stages"][:1]}, runs_dir=tmp_path, overrides=overrides)
    with pytest.raises(RecipeError, match=r"runs of one task can be compared, got task.max_length 16 in a and 32 in b"):
        api.frontier(tmp_path)


class Wrong:
    """A metric of others, of which less is better: the share of rows predicted wrong."""

    def compute(self, *, predictions, references):
        return {"wrong": sum(p != r for p, r in zip(predictions, references, strict=True)) / len(references)}


@pytest.mark.parametrize("said", [None, True, False])
def test_the_frontier_goes_by_the_direction_of_the_recipes_metric(tmp_path, monkeypatch, caplog, said):
    monkeypatch.setattr("evaluate.load", lambda name: Wrong())
    task = {**RECIPE["task"], "metric": "wrong", "trust_remote_code": True}
    task |= {} if said is None else {"greater_is_better": said}
    api.run({**RECIPE, "task": task, "stages": RECIPE["stages"][:1]}, runs_dir=tmp_path)

    points, _ = collect_points(tmp_path, api.STAGES)
    assert [point.greater_is_better for point in points.points] == [said is not False]
    assert ("task.greater_is_better: not said of wrong" in caplog.text) == (said is None)


def test_the_command_prints_the_table_and_the_model_to_ship_and_writes_files(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["frontier", str(folder), "--rounds", "1", "--max-drop", "1"])
    printed = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "sparsity=0.75" in printed
    assert "within --max-drop 1: " in printed
    assert (folder / "frontier.svg").read_text().startswith("<?xml")
    assert len(json.loads((folder / "frontier.json").read_text())["points"]) == 3


def test_what_is_written_is_named(folder):
    found = api.frontier(folder, rounds=1)
    assert [path.name for path in write_frontier(found, folder)] == ["frontier.json", "frontier.md", "frontier.svg"]


def test_a_first_stage_that_makes_zeros_is_no_dense_model(tmp_path):
    sparse = {**RECIPE, "stages": [{"uses": "sparsify", "sparsity": 0.5}, {"uses": "finetune"}]}
    for stages in (1, 2):
        recipe = {**sparse, "stages": sparse["stages"][:stages]}
        done = api.sweep(recipe, ["stages.sparsify.sparsity=0.3,0.6"], runs_dir=tmp_path / str(stages))
        points, _ = collect_points(done.folder, api.STAGES)
        assert [(point.label, point.dense_score) for point in points.points] == [
            ("sparsity=0.3", None),
            ("sparsity=0.6", None),
        ]


def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(tmp_path):
    api.sweep(RECIPE, ["seed=1,2"], runs_dir=tmp_path)
    api.sweep(RECIPE, ["seed=4"], runs_dir=tmp_path, overrides=["training.log_every=1"])
    done = api.sweep(RECIPE, ["seed=3"], runs_dir=tmp_path, overrides=["stages.prune_ffn.sparsity=0.25"])
    points, _ = collect_points(done.folder, api.STAGES)
    found = {group.label: len(group.points) for group in points.groups()}
    assert found == {"dense": 4, "prune_ffn of seed-1": 3, "prune_ffn of seed-3": 1}
