import importlib
import operator
import os
from functools import partial

import pytest

TINY = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 24, "vocab_size": 50}


@pytest.fixture
def cost(_on_path, monkeypatch):
    """The benchmark with everything in this process, for processes that import torch take seconds each."""
    module = importlib.import_module("cost")
    monkeypatch.setattr(module, "isolated", lambda work, *arguments: work(*arguments))
    return module


@pytest.fixture
def source(cost, data, model):
    return cost.Source(data, model, ("training.batch_size=4",))


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]


def number(cell):
    return float(cell.rstrip("%"))


def test_the_sections_of_a_step_add_up_and_each_stage_has_those_it_does(cost, source):
    table = cells(cost.time_shares(source.work(), steps=8))
    assert table[0][1:] == ["data", "forward", "teacher", "backward", "optimizer", "pruner", "rest"]
    by_stage = {row[0]: dict(zip(table[0][1:], map(number, row[1:]), strict=True)) for row in table[2:]}
    assert all(sum(shares.values()) == pytest.approx(100, abs=0.5) for shares in by_stage.values())
    assert all(
        shares[name] > 0 for shares in by_stage.values() for name in ("data", "forward", "backward", "optimizer")
    )
    assert [name for name, shares in by_stage.items() if shares["teacher"]] == list(by_stage)[1:]
    assert [name for name, shares in by_stage.items() if shares["pruner"]] == ["prune_heads", "prune_ffn"]
    assert all(shares["rest"] > -0.5 for shares in by_stage.values())


def test_the_clock_leaves_the_loop_as_it_was(cost, source, tmp_path):
    optimizer = importlib.import_module("torch.optim.optimizer")

    from pipeline.training.stepper import Stepper

    before = Stepper.step, Stepper.batch, len(optimizer._global_optimizer_pre_hooks)
    with cost.section_clock(warmup=1) as clock:
        assert Stepper.step is not before[0]
        result, _ = source.work().run_stage("finetune", tmp_path, steps=3)
    assert (Stepper.step, Stepper.batch, len(optimizer._global_optimizer_pre_hooks)) == before
    assert not result.model._forward_hooks
    assert clock.num_steps == 3


def test_steps_of_the_warmup_do_not_count():
    clock = importlib.import_module("section_clock").SectionClock(warmup=1)
    for _ in range(3):
        clock.begin("forward")
        clock.end("forward")
        clock.end_step(2.0)
    assert clock.step_seconds == 4.0
    assert 0 < clock.seconds["forward"] < 1.0


def test_every_part_prints_its_table(cost, source, monkeypatch):
    ratios = cells(cost.step_ratios(source.work(), steps=7, rounds=1))
    assert [row[0] for row in ratios[2:]] == ["bare finetune loop, fused AdamW", *cost.STAGES_TIMED]
    assert ratios[2][2:] == ["1.000", "1.000"]
    grown = cost.growth(source, stage="recover_ffn", rows=[8, 24, 40], epochs=1.0)
    assert [row[0] for row in cells(grown)[2:]] == ["8", "24", "40"]
    assert "Farthest from a straight line" in grown
    monkeypatch.setattr(cost, "STAGES_TIMED", ("finetune",))
    assert [row[0] for row in cells(cost.peaks(source, steps=2))[2:]] == ["finetune"]


def test_condensing_and_loading_are_measured_against_the_models_bytes(cost, tmp_path):
    isolated = importlib.import_module("cost_isolated")
    rows = cells(cost.models(TINY))
    assert [row[0] for row in rows[2:]] == [
        "condensing to half",
        "AutoModel…from_pretrained",
        "the pipeline's own loading",
    ]
    size = isolated.save_condensed(TINY, tmp_path)
    assert size == isolated.model_bytes(isolated.load_model(tmp_path)) < isolated.model_bytes(isolated.bert(TINY))


def test_a_stage_is_measured_with_the_recipes_settings(cost, source):
    work = source.work()
    uses, settings = cost.stage_settings(work, "prune_heads")
    assert uses == "prune_heads"
    assert (settings["granularity"], settings["sparsity"]) == ("head", work.recipe.stage("prune_heads").config.sparsity)
    assert not {"epochs", "steps"} & settings.keys()


def test_a_straight_line_is_told_from_a_curve():
    misfit = importlib.import_module("cost_isolated").misfit
    assert misfit([1, 2, 4], [3.0, 5.0, 9.0]) == pytest.approx(0, abs=1e-9)
    assert misfit([1, 2, 4], [1.0, 4.0, 16.0]) > 0.2


def test_the_peak_is_that_of_the_work_in_a_process_of_its_own():
    peak_memory = importlib.import_module("peak_memory")
    assert peak_memory.isolated(os.getpid) != os.getpid()
    found = peak_memory.isolated(peak_memory.measured, partial(operator.mul, b"x", 200_000_000))
    assert 190e6 < found.peak_bytes < 260e6
    assert found.seconds > 0


def test_the_parts_asked_for_are_recorded(cost, data, model, tmp_path, monkeypatch, capsys):
    results = tmp_path / "RESULTS.md"
    monkeypatch.setattr(importlib.import_module("machine").record, "__defaults__", (results,))
    monkeypatch.setattr(cost, "models", lambda fields: f"measured {fields}")
    cost.main(["--data", str(data), "--model", str(model), "--only", "models", "--record"])
    assert "measured {}" in results.read_text(encoding="utf-8")
    assert capsys.readouterr().out.startswith("measured {}")
    with pytest.raises(SystemExit):
        cost.main(["--data", str(data), "--model", str(model), "--steps", "6"])
    assert "--steps must be at least 7" in capsys.readouterr().err
