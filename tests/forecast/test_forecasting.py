import pytest

from pipeline import api
from pipeline.forecast.listing import forecast_lines

RECIPE = {
    "name": "tiny",
    "model": {
        "config": {
            "model_type": "bert",
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
        }
    },
    "task": {
        "type": "text-classification",
        "dataset": {"builtin": "grammar"},
        "text": "text",
        "max_length": 32,
        "train_rows": 33,
        "validation_rows": 24,
    },
    "training": {
        "batch_size": 8,
        "epochs": 1.5,
        "mixed_precision": "no",
        "length_pool": 2,
        "log_every": 1,
        "progress": False,
    },
    "stages": [
        {"uses": "finetune", "gradient_accumulation": 2},
        {"uses": "prune_heads", "sparsity": 0.4},
        {"uses": "prune_ffn", "sparsity": "match_heads", "rounds": 2, "distill": None},
    ],
}
SET_BY_TRAINING = ["stages.prune_heads.sparsity=null"]


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def timed(runs_dir):
    """The forecast, with times, made before anything was trained."""
    return api.forecast(api.plan(RECIPE, runs_dir=runs_dir), with_time=True)


def test_a_forecast_writes_nothing(timed, runs_dir):
    assert list(runs_dir.iterdir()) == []


def test_what_was_forecast_is_what_the_run_came_to(timed, runs_dir):
    done = api.run(RECIPE, runs_dir=runs_dir)
    assert [row.stage for row in timed] == ["first model", "finetune", "prune_heads", "prune_ffn"]
    for row in timed[1:]:
        artifact = done[row.stage]
        for name in ("parameters", "macs", "encoder_sparsity"):
            assert getattr(row.costs, name) == artifact.metrics[name], (row.stage, name)
        last = artifact.history()[-1]
        assert (row.amount.steps, row.amount.tokens) == (last["step"], last["tokens"]), row.stage
    assert timed[0].costs == timed[1].costs


def test_times_are_told_for_every_stage_and_add_up(timed):
    assert timed[0].seconds is None
    assert all(row.seconds > 0 for row in timed[1:])
    lines = forecast_lines(timed)
    assert "seconds," in lines[0]
    assert lines[-1].startswith("about ")
    assert lines[-1].endswith(" in all, from a few steps timed here and now")


@pytest.mark.parametrize("uses", sorted(set(api.STAGES) - {stage["uses"] for stage in RECIPE["stages"]}))
def test_stages_of_every_other_kind_are_timed_too(runs_dir, uses):
    stages = [{"uses": "finetune", "steps": 3}, {"uses": uses, "steps": 3}]
    rows = api.forecast(api.plan({**RECIPE, "stages": stages}, runs_dir=runs_dir / "kinds"), with_time=True)
    assert [row.stage for row in rows] == ["first model", "finetune", uses]
    assert all(row.seconds > 0 for row in rows[1:])


def test_what_training_sets_is_said_to_be_set_by_training(runs_dir):
    rows = api.forecast(api.plan(RECIPE, runs_dir=runs_dir / "other", overrides=SET_BY_TRAINING))
    assert [row.costs is None for row in rows] == [False, False, True, True]
    lines = forecast_lines(rows)
    assert lines[-1].count("set by training") == 3
    assert [row.seconds for row in rows] == [None] * 4


def test_a_stage_that_nothing_is_known_of_is_said_to_be_set_by_training(runs_dir):
    from pipeline.forecast.forecasting import forecast
    from stages.forecasts import FORECASTS

    known = {uses: tell for uses, tell in FORECASTS.items() if uses != "prune_heads"}
    rows = forecast(api.plan(RECIPE, runs_dir=runs_dir / "other"), known, with_time=False)
    assert [row.costs is None for row in rows] == [False, False, True, True]


BUDGET = [f"stages.{name}.sparsity=null" for name in ("prune_heads", "prune_ffn")]


@pytest.mark.parametrize(("target", "named"), [("macs=0.4", "macs"), ("encoder_sparsity=0.6", "encoder_sparsity")])
def test_what_a_shared_budget_leaves_is_known_to_the_channel_once_all_is_cut(runs_dir, target, named):
    plan = api.plan(RECIPE, runs_dir=runs_dir / "other", overrides=[*BUDGET, f"budget.{target}"])
    rows = api.forecast(plan)
    assert rows[2].costs is None
    last = rows[3].costs
    assert last.is_limit
    assert (last.macs is None, last.parameters is None) == (named != "macs", named == "macs")
    told = forecast_lines(rows)[-1]
    assert told.count("set by training") == (2 if named == "macs" else 1)
    assert ("at least 60.0%" in told) == (named != "macs")


def test_what_a_budget_leaves_of_one_kind_alone_is_exact(runs_dir, tmp_path):
    recipe = {
        **RECIPE,
        "stages": [{"uses": "finetune", "steps": 1}, {"uses": "prune_ffn", "steps": 1, "distill": None}],
    }
    rows = api.forecast(api.plan(recipe, runs_dir=tmp_path, overrides=["budget.macs=0.7"]))
    done = api.run(recipe, runs_dir=tmp_path, overrides=["budget.macs=0.7"])
    for name in ("parameters", "macs", "encoder_sparsity"):
        assert getattr(rows[-1].costs, name) == done["prune_ffn"].metrics[name]
