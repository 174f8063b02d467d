import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pipeline.reporting.report import Report, write_report
from pipeline.surgery.keep_plan import KeepPlan, Kept

HEADS_PLAN = KeepPlan({"encoder.1.heads": Kept(4, (0, 2)), "encoder.0.heads": Kept(4, ())})
FULL_PLAN = HEADS_PLAN.then(KeepPlan({f"encoder.{layer}.channels": Kept(8, (1, 2, 5)) for layer in range(2)}))


class FakeRun:
    task = "{validation: [validation, heldout], metric: [accuracy, f1]}"

    def __init__(self, path, artifacts):
        self.path, self.name, self.artifacts = path, "tiny", artifacts
        self.stages = tuple(artifacts)

    @property
    def recipe_text(self):
        return f"seed: 7\ntask: {self.task}\nstages: [{{uses: finetune, epochs: 2}}]"

    def outdated(self):
        return tuple(name for name in self.stages if self.artifacts[name].metrics.get("validation/accuracy") == 0.85)

    def __getitem__(self, name):
        return self.artifacts[name]


def artifact(uses, plan, accuracy, speedup, **more):
    metrics = {
        "validation/accuracy": accuracy,
        "parameters": 22_713_216,
        "encoder_sparsity": 0.861,
        "macs": 123_456_789,
        "latency_b1_ms": 12.345,
        "latency_b32_ms": 345.6,
        "latency_b1_rounds": 41,
        "latency_b32_rounds": 30,
        "latency_threads": 2,
        "speedup_b1": speedup,
        "speedup_b32": speedup,
        **more,
    }
    manifest = SimpleNamespace(uses=uses, seconds=61.25, environment={"torch": "2.13.0", "cpu": {"cores": 2}})
    return SimpleNamespace(manifest=manifest, metrics=metrics, total_keep_plan=plan)


@pytest.fixture
def run(tmp_path):
    return FakeRun(
        tmp_path,
        {
            "finetune": artifact("finetune", None, 0.91427, 1.0),
            "prune_heads": artifact(
                "prune_heads",
                HEADS_PLAN,
                0.8,
                1.5,
                **{"before_cut/validation/accuracy": 0.81},
            ),
            "recover_heads": artifact("distill", HEADS_PLAN, 0.9, 1.5),
            "prune_ffn": artifact("prune_ffn", FULL_PLAN, 0.85, 2.25),
        },
    )


def test_the_table_has_a_row_per_stage_with_its_scores_costs_and_speedup(run):
    lines = Report.from_run(run).table().splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["encoder", "MACs", "ms,", "batch", "speed-up", "ms,", "batch", "speed-up"],
        [
            "stage",
            "accuracy",
            "sparsity",
            "parameters",
            "per",
            "row",
            "1",
            "batch",
            "1",
            "32",
            "batch",
            "32",
            "seconds",
        ],
    ]
    assert lines[3].split() == [
        "finetune",
        "91.43%",
        "86.1%",
        "22.71M",
        "123.5M",
        "12.35",
        "1.00×",
        "345.60",
        "1.00×",
        "61.2",
    ]
    assert [line.split()[0] for line in lines[3:7]] == ["finetune", "prune_heads", "recover_heads", "prune_ffn"]
    assert len({len(line) for line in lines[2:7]}) == 1


def test_below_the_table_stand_the_layers_where_they_changed_and_how_times_were_taken(run):
    *_, heads, channels, _, timing = Report.from_run(run).table().splitlines()
    assert heads == "heads kept per layer: finetune 4 × 2; prune_heads 0 2"
    assert channels == "channels kept per layer: finetune 8 × 2; prune_ffn 3 × 2"
    assert "at least 30 rounds, threads: 2" in timing


def test_a_stage_made_from_what_was_redone_since_is_marked(run):
    report = Report.from_run(run)
    lines = report.table().splitlines()
    assert lines[6].startswith("prune_ffn * ")
    assert lines[-2] == (
        "* made by other settings than the recipe's now, or from a stage that was redone since: run again"
    )
    assert [stage["is_outdated"] for stage in json.loads(report.json())["stages"]] == [False, False, False, True]


def test_a_metric_without_a_value_is_null_in_json(run):
    run["finetune"].metrics["validation/matthews"] = float("nan")
    report = Report.from_run(run)
    assert json.loads(report.json())["stages"][0]["metrics"]["validation/matthews"] is None
    assert "nan" in report.table()


def test_several_splits_are_reported_apart_in_the_order_of_the_recipe(run):
    metrics = run["finetune"].metrics
    run["finetune"].metrics = {"heldout/accuracy": 0.5, **metrics}
    header, _, finetune, other = (Report.from_run(run).markdown().splitlines()[index] for index in (2, 3, 4, 5))
    assert "| validation accuracy | heldout accuracy |" in header
    assert "| 91.43% | 50.00% |" in finetune
    assert "| 80.00% | – |" in other


def test_scores_of_splits_and_metrics_with_a_slash_are_reported(run):
    run.task = "{validation: [val/a, plain], metric: [org/my_score]}"
    scores = {"val/a/org/my_score": 0.25, "plain/org/my_score": 0.5, "before_cut/val/a/org/my_score": 0.75}
    run["finetune"].metrics = {**scores, "encoder_sparsity": 0.0}
    report = Report.from_run(run)
    table, *others = report.tables()
    assert table.headers[1:3] == ["val/a\norg/my_score", "plain\norg/my_score"]
    assert table.rows[0][1:3] == ["0.2500", "0.5000"]
    assert ["finetune", "val/a/org/my_score", "0.7500", "0.2500"] in [row for other in others for row in other.rows]


def test_markdown_tells_units_the_metric_around_the_cut_and_the_machine(run):
    text = Report.from_run(run).markdown()
    assert "| recover_heads | 0 2 | 8 × 2 |" in text
    assert "| prune_heads | validation/accuracy | 81.00% | 80.00% |" in text
    assert "* torch: 2.13.0\n* cpu.cores: 2\n* seed: 7\n" in text
    assert "* finetune: epochs 2\n" in text
    assert "| prune_ffn | 12.35 (–), 2.25× | 345.60 (–), 2.25× |" in text


def test_json_holds_every_metric_unrounded(run):
    document = json.loads(Report.from_run(run).json())
    assert document["run"] == "tiny"
    assert document["recipe"]["seed"] == 7
    stages = {stage["stage"]: stage for stage in document["stages"]}
    assert stages["recover_heads"]["uses"] == "distill"
    assert stages["finetune"]["metrics"] == run["finetune"].metrics
    assert stages["finetune"]["kept"] == {"heads": [4, 4], "channels": [8, 8]}
    assert stages["prune_ffn"]["kept"] == {"heads": [0, 2], "channels": [3, 3]}


def test_a_run_of_a_metric_only_still_makes_a_table(tmp_path):
    bare = SimpleNamespace(uses="finetune", seconds=1.0, environment={})
    one = SimpleNamespace(manifest=bare, metrics={"validation/pearson": -0.25}, total_keep_plan=None)
    report = Report.from_run(FakeRun(tmp_path, {"finetune": one}))
    assert report.table().splitlines()[-1].split() == ["finetune", "-0.2500", *["–"] * 7, "1.0"]
    assert "Units kept" not in report.markdown()


def test_a_run_without_stages_makes_an_empty_report(tmp_path):
    report = Report.from_run(FakeRun(tmp_path, {}))
    assert json.loads(report.json())["stages"] == []
    assert report.table()


def test_write_report_replaces_both_files_and_leaves_nothing_beside_them(run):
    (run.path / "report.md").write_text("old")
    report = write_report(run)
    assert {path.name for path in run.path.iterdir()} == {"report.md", "report.json"}
    assert (run.path / "report.md").read_text(encoding="utf-8") == report.markdown()
    assert (run.path / "report.json").read_text(encoding="utf-8") == report.json()


def test_a_report_needs_no_torch():
    code = "import sys, pipeline.reporting.report; assert not {'torch', 'transformers'} & set(sys.modules), 'imported'"
    subprocess.run([sys.executable, "-c", code], check=True)
