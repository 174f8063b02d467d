import importlib
import json
import subprocess
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

QUICK = ["--set", "training.mixed_precision=no", "--set", "training.batch_size=4"]


def run_script(name, data, model, *arguments):
    importlib.import_module(name).main(["--data", str(data), "--model", str(model), *QUICK, *arguments])


def test_the_bare_loop_counts_the_rows_of_its_timed_steps(data, model, capsys):
    run_script("bare_loop", data, model, "--steps", "3", "--warmup", "1", "--pool", "2")
    measured = json.loads(capsys.readouterr().out.splitlines()[0])
    assert measured["steps"] == 3
    assert measured["batch_size"] == 4
    assert measured["rows_per_second"] > 0
    assert measured["optimizer"] == "AdamW"


def test_the_bare_loop_trains(data, model):
    bare_loop = importlib.import_module("bare_loop")
    sst2_work = importlib.import_module("sst2_work")
    recipe = bare_loop.load_recipe(sst2_work.sst2_recipe(data, model), stages=bare_loop.STAGES)
    task = bare_loop.build_task(recipe.task, model=recipe.model, processor_dir=None, seed=0)
    trained = bare_loop.source_model(recipe.model, task, 0)
    before = {name: value.clone() for name, value in trained.named_parameters()}
    clock = bare_loop.timed_bare_loop(trained, task.train, [[0, 1], [2, 3], [4, 5]])
    assert len(clock.step_seconds()) == 2
    assert not trained._forward_pre_hooks
    assert any(not value.equal(before[name]) for name, value in trained.named_parameters())


def test_speed_prints_every_ratio_that_is_asked_for(data, model, capsys):
    short = ["--steps", "8", "--rounds", "1", "--save-steps", "4", "--latency-rounds", "2"]
    run_script("speed", data, model, *short, "--set", "training.length_pool=3")
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    labels = [row[0].removeprefix("| ") for row in rows]
    for label in (
        "padding, pool of 3",
        "throughput over a bare loop, same batches, fused AdamW",
        "prune_heads step over dense finetune step",
        "distill step over dense finetune step",
        "prune_ffn step over dense finetune step",
    ):
        assert label in labels
    assert sum(label.startswith("speed-up over MAC ratio, batch 32") for label in labels) == 3
    assert any("saves, as often as allowed" in label for label in labels)


def test_the_work_names_a_missing_file(tmp_path, model):
    sst2_work = importlib.import_module("sst2_work")
    with pytest.raises(SystemExit, match=r"train_20k\.jsonl: no such file"):
        sst2_work.sst2_recipe(tmp_path, model)


def test_the_work_runs_to_its_end_is_tabled_and_recorded_and_then_skips_everything(data, model, tmp_path, monkeypatch):
    results = tmp_path / "RESULTS.md"
    monkeypatch.setattr(importlib.import_module("machine").record, "__defaults__", (results,))
    short = ["--set", "stages.*.steps=3", "--set", "training.progress=false", "--set", "stages.prune_ffn.rounds=2"]
    arguments = [*short, "--runs-dir", str(tmp_path / "runs"), "--record"]
    run_script("sst2_minilm", data, model, *arguments)
    text = results.read_text(encoding="utf-8")
    header, *stages = [line.split(" | ") for line in text.split("### ")[0].splitlines() if line.startswith("| ")]
    assert header[1:4] == ["validation accuracy", "heldout accuracy", "encoder sparsity"]
    assert [row[0] for row in stages[1:]] == [
        "| finetune",
        "| prune_heads",
        "| recover_heads",
        "| prune_ffn",
        "| recover_ffn",
    ]
    assert "Settings: training.mixed_precision=no" in text
    assert "| recover_ffn | " in text.split("### Units kept per layer")[1]
    (artifact,) = (tmp_path / "runs").glob("*/05-recover_ffn/manifest.json")
    before = artifact.stat().st_mtime_ns
    run_script("sst2_minilm", data, model, *arguments)
    assert artifact.stat().st_mtime_ns == before
    assert results.read_text(encoding="utf-8").count("## SST-2-20k work") == 2


def test_cheaper_steps_prints_every_setting_of_both_models(data, model, monkeypatch, capsys):
    cheaper_steps = importlib.import_module("cheaper_steps")
    monkeypatch.setattr(cheaper_steps, "WARMUP", 1)
    asked, cheap, run = [], [], subprocess.run

    def in_this_process(command, **options):
        if "--ways" not in command:
            return run(command, **options)
        ways = command.index("--ways")
        asked.append(command[ways + 1 :])
        of_this_process = ["--ways", "dropout"] if "dropout" in asked[-1] else []
        cheaper_steps.main([*command[2:ways], *of_this_process])
        return SimpleNamespace(stdout=capsys.readouterr().out)

    monkeypatch.setattr(subprocess, "run", in_this_process)
    monkeypatch.setattr(cheaper_steps, "cheap_dropout", lambda model: cheap.append(asked[-1]) or nullcontext())
    run_script("cheaper_steps", data, model, "--steps", "2", "--rounds", "1")
    assert cheap == [["dropout"], ["memory", "kernels", "dropout"]] * 2
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[1] for row in rows[2:]] == ["none", "memory", "kernels", "dropout", "all"] * 2
    assert {row[3].rstrip(" |") for row in rows if row[1] == "none"} == {"1.00"}
    assert asked == [[], ["memory"], ["kernels"], ["dropout"], ["memory", "kernels", "dropout"]] * 2
