import importlib
import operator
import os
from functools import partial

import pytest
import torch

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
    told = cost.time_shares(source.work(), steps=8)
    table = cells(told)
    assert table[0][1:] == ["data", "forward", "teacher", "backward", "optimizer", "pruner", "rest"]
    by_stage = {row[0]: dict(zip(table[0][1:], map(number, row[1:]), strict=True)) for row in table[2:]}
    assert all(sum(shares.values()) == pytest.approx(100, abs=0.5) for shares in by_stage.values())
    assert all(
        shares[name] > 0 for shares in by_stage.values() for name in ("data", "forward", "backward", "optimizer")
    )
    assert [name for name, shares in by_stage.items() if shares["teacher"]] == list(by_stage)[1:]
    assert [name for name, shares in by_stage.items() if shares["pruner"]] == ["prune_heads", "prune_ffn"]
    assert all(shares["rest"] > -0.5 for shares in by_stage.values())
    most = max(shares["pruner"] for shares in by_stage.values())
    rounded_alike = [name for name, shares in by_stage.items() if shares["pruner"] == most]
    assert any(f"Pruner: at most {most}% ({name}), asked at most 5%." in told for name in rounded_alike)


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


def test_a_section_inside_another_is_not_counted_twice(cost, monkeypatch):
    section_clock = importlib.import_module("section_clock")
    monkeypatch.setattr(section_clock, "_now", iter([0.0, 1.0, 1.5, 4.0, 5.0, 6.0]).__next__)
    clock = section_clock.SectionClock()
    for begins, section in ((True, "forward"), (True, "optimizer"), (False, "optimizer"), (False, "forward")):
        (clock.begin if begins else clock.end)(section)
    clock.begin("data")
    clock.end("data")
    assert [clock.seconds[name] for name in ("forward", "optimizer", "data")] == [3.5, 0.5, 1.0]


def test_cuts_at_rounds_are_set_against_masks(cost, source, monkeypatch):
    asked, clock = [], cost._stage_clock
    monkeypatch.setattr(
        cost, "_stage_clock", lambda *given, **changes: asked.append((given[1], changes)) or clock(*given, **changes)
    )
    rows = cells(cost.cut_ratios(source.work(), steps=9, rounds=2))
    assert [row[0] for row in rows[2:]] == list(cost.PRUNING)
    assert all(number(cell) > 0 for row in rows[2:] for cell in row[1:])
    turn = [(name, cuts) for name in cost.PRUNING for cuts in (False, True)]
    assert [(name, changes["cut_at_rounds"]) for name, changes in asked] == [*turn, *reversed(turn)]


def test_every_part_prints_its_table(cost, source, monkeypatch):
    ratios = cells(cost.step_ratios(source.work(), steps=7, rounds=1))
    assert [row[0] for row in ratios[2:]] == ["bare finetune loop, fused AdamW", *cost.STAGES_TIMED]
    assert ratios[2][2:] == ["1.000", "1.000"]
    grown = cost.growth(source, stage="recover_ffn", rows=[8, 24], epochs=1.0)
    assert [row[0] for row in cells(grown)[2:]] == ["8", "24"]
    assert "Farthest from a straight line" in grown
    assert cells(grown)[0][3:] == [f"{name}, MiB" for name in cost.MEMORY]
    assert "Most over least: tensors between steps " in grown
    monkeypatch.setattr(cost, "STAGES_TIMED", ("finetune",))
    assert [row[0] for row in cells(cost.peaks(source, steps=2))[2:]] == ["finetune"]


def test_condensing_and_loading_are_measured_against_the_models_bytes(cost, tmp_path):
    isolated = importlib.import_module("cost_isolated")
    rows = cells(cost.models(TINY))
    assert [row[0] for row in rows[2:]] == [
        "condensing to half, as the stages do",
        "beside the dense model",
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


def test_few_steps_have_few_rounds_of_pruning(cost, source):
    work = source.work()
    whole = work.recipe.stage("prune_ffn").config
    assert (whole.rounds, cost.stage_settings(work, "prune_ffn")[1]["rounds"]) == (36, 36)
    assert len(work.task.train) * whole.epochs / 4 == 24
    assert cost.stage_settings(work, "prune_ffn", 12)[1]["rounds"] == 18
    assert cost.stage_settings(work, "prune_ffn", 1)[1]["rounds"] == 2
    assert "rounds" not in cost.stage_settings(work, "finetune", 12)[1]


def test_memory_that_was_given_back_is_not_in_use_whoever_keeps_it(cost):
    memory = importlib.import_module("memory_in_use")
    before = memory.bytes_in_use()
    block = torch.ones(50_000_000, dtype=torch.uint8)
    held = memory.bytes_in_use() - before
    del block
    assert 50_000_000 <= held < 51_000_000
    assert abs(memory.bytes_in_use() - before) < 1_000_000


def test_what_a_step_holds_is_seen_apart_from_what_is_held_between_steps(cost, source, tmp_path):
    memory = importlib.import_module("memory_in_use")
    loop, backward = importlib.import_module("pipeline.training.stepper").Stepper.step, torch.autograd.backward
    work, before = source.work(), memory.bytes_in_use()
    with memory.watched() as seen:
        work.run_stage("finetune", tmp_path, steps=2)
    size = sum(4 * parameter.numel() for parameter in work.dense.parameters())
    assert seen.between_steps - before > 3 * size, "two copies of the model, and the moments are half of the third"
    assert seen.in_a_step > seen.between_steps
    assert 4 * size <= seen.of_tensors < before + 5 * size, "three models and what updates one"
    assert (importlib.import_module("pipeline.training.stepper").Stepper.step, torch.autograd.backward) == (
        loop,
        backward,
    )


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
    out = capsys.readouterr().out
    assert out.startswith("cpu ")
    assert "\n\nmeasured {}" in out
    with pytest.raises(SystemExit):
        cost.main(["--data", str(data), "--model", str(model), "--steps", "6"])
    assert "--steps must be at least 7" in capsys.readouterr().err
