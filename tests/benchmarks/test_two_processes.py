import importlib
import json
import os
import signal
import subprocess

import pytest
import torch

STAGES = ("finetune", "prune_heads", "recover_heads", "prune_ffn", "recover_ffn")


@pytest.fixture
def witness(_on_path):
    return importlib.import_module("rank_witness")


@pytest.fixture
def two(_on_path):
    return importlib.import_module("two_processes")


@pytest.fixture
def options(two, data, model, tmp_path):
    """What the benchmark is asked for, as tiny as can be, saving after every step."""
    settings = [
        *("stages.*.steps=4", "training.save_seconds=0", "training.save_share=1e9", "task.validation_rows=4"),
        *("stages.prune_ffn.rounds=2", "stages.prune_heads.rounds=2"),
    ]
    arguments = ["--data", str(data), "--model", str(model), "--rows", "48", "--batch-size", "8"]
    arguments += ["--runs-dir", str(tmp_path / "runs")]
    return [*arguments, *(argument for setting in settings for argument in ("--set", setting))]


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_a_digest_tells_bits_shapes_and_names_apart(witness):
    zeros = {"a": torch.zeros(2, 3)}
    others = [{"a": torch.zeros(3, 2)}, {"b": torch.zeros(2, 3)}, {"a": -torch.zeros(2, 3)}]
    assert witness.digest(zeros) == witness.digest({"a": torch.zeros(2, 3)})
    assert len({witness.digest(each) for each in [zeros, *others]}) == 4


def test_ranks_agree_where_all_noted_the_same_also_when_a_step_is_made_twice(witness):
    notes = [{"stage": "s", "step": step, "masks": f"m{step}"} for step in (1, 2, 3, 2, 3)]
    assert witness.agreement([notes, notes[:3]], "masks") == (3, [])
    assert witness.agreement([notes, notes[:2]], "masks") == (2, [("s", 3)])
    unlike = [*notes[:3], {"stage": "s", "step": 2, "masks": "m"}]
    assert witness.agreement([notes, unlike], "masks") == (2, [("s", 2)])
    assert witness.agreement([unlike, unlike], "masks") == (2, [("s", 2)])
    assert witness.agreement([[], []], "masks") == (0, [])


def test_a_line_that_a_kill_cut_short_does_not_count(witness, tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text('{"stage": "s", "began": 0}\n{"stage": "s", "st')
    assert witness.read_notes(path) == [{"stage": "s", "began": 0}]
    assert witness.read_notes(tmp_path / "none.jsonl") == []


def test_a_run_notes_its_masks_and_weights_and_dies_where_it_is_told(two, witness, options, tmp_path, monkeypatch):
    def launch(options, kind, seed, *more):
        child = two.arguments([*arguments, "--child", kind, *more])
        try:
            two.be_run(child)
        except ProcessLookupError:
            return 1
        return 0

    def die(process, signum):
        assert (process, signum) == (os.getpid(), signal.SIGKILL)
        raise ProcessLookupError

    arguments = options
    monkeypatch.setattr(two, "_launch", launch)
    monkeypatch.setattr(witness.os, "kill", die)
    parsed = two.arguments(options)
    finished = {kind: two.bring_to_its_end(parsed, kind, 42) for kind in ("one", "killed")}
    notes = {kind: witness.read_notes(tmp_path / "runs" / f"{kind}-s42-rank0.jsonl") for kind in finished}
    assert [note["stage"] for note in notes["one"] if "began" in note] == list(STAGES)
    assert [(note["stage"], note["died"]) for note in notes["killed"] if "died" in note] == [
        ("prune_heads", 2),
        ("prune_ffn", 2),
    ]
    assert [note["began"] for note in notes["killed"] if "began" in note] == [0, 0, 2, 0, 0, 2, 0]
    assert list(witness.seen(notes["one"], "weights")) == [(stage, 4) for stage in STAGES]
    assert list(witness.seen(notes["one"], "masks")) == [
        (stage, step) for stage in ("prune_heads", "prune_ffn") for step in (1, 2, 3, 4)
    ]
    assert not any(len(masks) > 1 for masks in witness.seen(notes["killed"], "masks").values())
    assert [two._resumed(notes["killed"], stage)[0] for stage in two.KILLED_IN] == [True, True]
    assert two._loads(two.work_recipe(parsed, "one", 42), finished["one"])[0]
    before = len(notes["killed"])
    two.bring_to_its_end(parsed, "killed", 42)
    assert len(witness.read_notes(tmp_path / "runs" / "killed-s42-rank0.jsonl")) == before, "it is fresh, and not run"


@pytest.mark.slow
def test_two_processes_keep_their_masks_their_artifacts_and_their_end(two, options, tmp_path, monkeypatch, capsys):
    results = tmp_path / "RESULTS.md"
    monkeypatch.setattr(importlib.import_module("machine").record, "__defaults__", (results,))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    two.main([*options, "--record"])
    found = {row[0]: row[1:] for row in cells(results.read_text(encoding="utf-8"))}
    assert [name for name, row in found.items() if row[0] == "**no**"] == []
    assert found["two: masks equal in both processes, after every step of a pruning stage"] == ["yes", "8 times equal"]
    assert list(found)[2:7] == list(STAGES)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **named: pytest.fail("nothing is left to run"))
    capsys.readouterr()
    two.bring_to_its_end(two.arguments(options), "two", 42)
    assert json.loads((tmp_path / "runs" / "two-s42-rank1.jsonl").read_text().splitlines()[0])["began"] == 0
