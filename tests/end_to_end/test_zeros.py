"""Zeros in the weights last as long as nothing trains them, and whoever trains them is told."""

import logging

from pipeline.api import run

SHORT = {"steps": 2, "learning_rate": 1e-3}


def test_who_trains_zeros_away_is_told_in_the_log_and_on_the_card(text_recipe, tmp_path, caplog):
    text_recipe["stages"] = [
        {"uses": "sparsify", "sparsity": 0.5, "schedule": {"kind": "one_shot"}, **SHORT},
        {"uses": "sparsify", "name": "keep", "pattern_lock": True, **SHORT},
        {"uses": "finetune", "name": "lose", **SHORT},
        {"uses": "sparsify", "name": "late", "pattern_lock": True, **SHORT},
    ]
    with caplog.at_level(logging.WARNING):
        done = run(text_recipe, runs_dir=tmp_path)
    told = [record.getMessage() for record in caplog.records if "zeros" in record.getMessage()]
    assert len(told) == 2
    assert told[0].startswith(
        "lose: the zeros of keep (50.0% of the weights it touched) are lost where they are trained"
    )
    assert told[1].startswith("pattern_lock keeps the zeros that are there, and there are none in ")
    cards = {name: (done[name].model_dir / "README.md").read_text("utf-8") for name in done.stages}
    lost = "The zeros that sparsify made are no longer there: the weights were trained further."
    assert [lost in cards[name] for name in ("sparsify", "keep", "lose", "late")] == [False, False, True, True]
    assert [done[name].metrics.get("weight_sparsity", 0.0) for name in done.stages] == [0.5, 0.5, 0.0, 0.0]
