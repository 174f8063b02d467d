from dataclasses import replace

import pytest

from pipeline.reporting.figures.timeline import timeline
from pipeline.reporting.stage_logs import stage_logs


def test_stages_follow_each_other_on_one_axis(made_run):
    logs = stage_logs(made_run)
    assert [log.stage for log in logs] == list(made_run.stages)
    assert [(log.start, log.seconds) for log in logs] == [(20.0 * index, 20.0) for index in range(5)]
    assert logs[1].loss == [(25.0, 0.2), (30.0, 0.1), (35.0, pytest.approx(2 / 30)), (40.0, 0.05)]


def test_scores_of_the_first_metric_end_with_the_committed_model(made_run):
    first = stage_logs(made_run)[0]
    assert first.scores == {
        "validation/accuracy": [(10.0, 0.7), (20.0, 0.9)],
        "heldout/accuracy": [(10.0, 0.6), (20.0, 0.89)],
    }


def test_scores_of_the_first_metric_are_told_where_names_have_a_slash(own_run):
    finetune = own_run["finetune"]
    metrics = {"val/a/org/score": 0.5, "plain/org/score": 0.25, "plain/other/score": 0.75, "macs": 1.0}
    made = replace(finetune.manifest, metrics=metrics, document={"task": {"validation": ["val/a", "plain"]}})
    (finetune.path / "manifest.json").write_bytes(made.to_bytes())
    first = stage_logs(own_run)[0]
    assert first.metric == "org/score"
    assert first.scores == {"val/a/org/score": [(20.0, 0.5)], "plain/org/score": [(20.0, 0.25)]}
    assert [text.get_text() for text in timeline([first]).axes[1].get_legend().get_texts()] == ["plain", "val/a"]
