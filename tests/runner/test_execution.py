import json

import pytest

from pipeline import Run
from pipeline.artifacts.lock import RunLock


def test_first_run_commits_every_stage_with_its_files_and_numbers(machine):
    run = machine.run()

    assert run.stages == ("train", "cut", "recover")
    assert [run[name].path.name for name in run.stages] == ["01-train", "02-cut", "03-recover"]
    assert {path.name for path in run["cut"].path.iterdir()} == {
        "manifest.json",
        "model",
        "keep_plan.json",
        "total_keep_plan.json",
        "metrics.jsonl",
    }
    assert run["cut"].metrics["validation/accuracy"] == 0.0
    assert run["train"].metrics["before_cut/validation/accuracy"] == 0.5
    assert run["cut"].history() == [{"step": 1, "loss": 0.5}]
    assert run["cut"].manifest.environment["device"] == "a dummy device"
    assert not (run.path / "work").exists()
    assert (run.path / "report.md").read_text() == "train\ncut\nrecover\n"
    for name in run.stages:
        run[name].verify()


def test_second_run_runs_nothing_and_changes_no_byte(machine):
    machine.run()
    before, calls = machine.digests(), list(machine.CALLS)

    machine.run()

    assert calls == machine.CALLS
    assert machine.digests() == before
    assert machine.plan().is_fresh


def test_keep_plans_compose_to_one_relative_to_the_first_model(machine):
    run = machine.run(
        machine.recipe(
            {"uses": "train"}, {"uses": "cut"}, {"uses": "train", "name": "rest"}, {"uses": "cut", "name": "again"}
        )
    )

    assert run["train"].total_keep_plan is None
    assert run["rest"].keep_plan is None
    assert run["rest"].total_keep_plan == run["cut"].keep_plan
    assert run["again"].keep_plan["encoder.0.heads"].of == 4
    assert run["again"].total_keep_plan["encoder.0.heads"].units == (0, 4)


def test_teacher_is_the_last_stage_before_that_provides_one(machine):
    machine.run(machine.recipe({"uses": "train"}, {"uses": "train", "name": "more"}, {"uses": "cut"}))

    first = [call for call in machine.CALLS if call.startswith("teacher")]
    assert len(json.loads(first[0].removeprefix("teacher "))) == 3


def test_from_redoes_that_stage_and_all_after_it(machine):
    machine.run()
    machine.CALLS.clear()
    before = machine.digests()

    machine.run(from_stage="cut")

    assert [call for call in machine.CALLS if not call.startswith("teacher")] == ["cut", "recover"]
    after = machine.digests()
    assert before["01-train/manifest.json"] == after["01-train/manifest.json"]
    assert before["02-cut/manifest.json"] != after["02-cut/manifest.json"]
    assert before["03-recover/manifest.json"] != after["03-recover/manifest.json"]
    assert machine.plan().is_fresh


def test_until_stops_after_that_stage(machine):
    assert machine.run(until="cut").stages == ("train", "cut")
    assert machine.run().stages == ("train", "cut", "recover")
    assert machine.CALLS.count("train") == 1


def test_from_with_a_stale_parent_uses_it_as_it_is_and_warns(machine, caplog):
    machine.run()
    changed = machine.recipe({"uses": "train", "add": 3}, {"uses": "cut"}, {"uses": "train", "name": "recover"})
    machine.CALLS.clear()

    machine.run(changed, from_stage="recover")

    assert machine.CALLS == ["recover"]
    assert "train: stale (stages.train.add: 1.0 → 3.0); --from recover takes it as it is" in caplog.text


def test_interrupted_redo_resumes_without_from_and_keeps_the_old_artifact_until_then(machine):
    machine.run()
    old = machine.digests()
    machine.CALLS.clear()
    failing = _failing_cut(machine)

    with pytest.raises(RuntimeError):
        machine.run(from_stage="cut", stages=failing)
    assert machine.digests()["02-cut/manifest.json"] == old["02-cut/manifest.json"]
    assert machine.states(machine.plan()) == ["fresh", "half-done", "stale"]

    machine.run()

    assert [call for call in machine.CALLS if not call.startswith("teacher")] == [
        "cut",
        "cut",
        "cut resumed",
        "recover",
    ]
    assert machine.digests()["03-recover/manifest.json"] != old["03-recover/manifest.json"]
    assert machine.plan().is_fresh
    assert not (Run.open("runs/dummy").path / "work").exists()


def _failing_cut(machine):
    class FailingCut(machine.Cut):
        def run(self, context):
            super().run(context)
            raise RuntimeError("asked to fail")

    return {**machine.STAGES, "cut": FailingCut}


def test_failed_stage_leaves_earlier_artifacts_and_resumes_its_work(machine):
    with pytest.raises(RuntimeError):
        machine.run(stages=_failing_cut(machine))
    assert machine.states(machine.plan()) == ["fresh", "half-done", "missing"]

    run = machine.run()

    assert machine.CALLS.count("train") == 1
    assert "cut resumed" in machine.CALLS
    assert run["cut"].history() == [{"step": 1, "loss": 0.5}] * 2
    assert run.stages == ("train", "cut", "recover")


def test_half_done_work_of_other_settings_is_discarded(machine):
    with pytest.raises(RuntimeError):
        machine.run(stages=_failing_cut(machine))

    machine.run(machine.recipe({"uses": "train"}, {"uses": "cut", "add": 2}))

    assert "cut resumed" not in machine.CALLS


def test_seconds_sum_over_resumes(machine, monkeypatch):
    with pytest.raises(RuntimeError):
        machine.run(stages=_failing_cut(machine))
    written = json.loads((Run.open("runs/dummy").path / "work/cut/stage.json").read_text())
    assert written["seconds"] > 0
    assert written["started"] is None

    assert machine.run()["cut"].manifest.seconds > written["seconds"]


def test_stage_redone_with_an_equal_result_does_not_re_run_those_after_it(machine):
    machine.run()
    machine.CALLS.clear()

    class NewVersion(machine.Train):
        version = 2

    run = machine.run(
        machine.recipe({"uses": "anew", "name": "train"}, {"uses": "cut"}, {"uses": "train", "name": "recover"}),
        stages={**machine.STAGES, "anew": NewVersion},
    )

    assert machine.CALLS == ["train"]
    assert run["train"].manifest.version == 2


def test_stage_whose_place_changed_is_found_by_name_and_not_run_again(machine):
    stages = [{"uses": "train"}, {"uses": "train", "name": "aside"}, {"uses": "cut", "teacher": "train"}]
    machine.run(machine.recipe(*stages[:2]))
    folder = Run.open("runs/dummy")["aside"].path
    folder.rename(folder.with_name("07-aside"))
    machine.CALLS.clear()

    run = machine.run(machine.recipe(*stages))

    assert machine.CALLS[0] == "cut"
    assert run["aside"].path.name == "07-aside"


def test_stage_redone_at_another_place_replaces_the_folder_it_had(machine):
    machine.run()

    run = machine.run(machine.recipe({"uses": "train"}, {"uses": "train", "name": "new"}, {"uses": "cut"}))

    assert run.stages == ("train", "new", "cut")
    assert sorted(path.name for path in run.path.glob("*-cut")) == ["03-cut"]


def test_renamed_run_and_renamed_folder_run_nothing(machine):
    machine.run()
    Run.open("runs/dummy").path.rename("runs/other")
    machine.CALLS.clear()

    machine.run(machine.recipe(name="other"), run_dir="runs/other")

    assert machine.CALLS == []


def test_reader_needs_no_lock(machine):
    machine.run()
    with RunLock(Run.open("runs/dummy").path):
        assert machine.plan().is_fresh
        assert Run.open("runs/dummy").stages == ("train", "cut", "recover")


def test_files_of_an_artifact_are_read_only(machine):
    run = machine.run(until="train")
    files = [path for path in run["train"].path.rglob("*") if path.is_file()]
    assert files
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}


def test_only_the_main_process_writes(machine, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("pipeline.runner.processes.join", lambda: None)
    monkeypatch.setattr("pipeline.runner.processes.wait", lambda: None)

    machine.run(machine.recipe({"uses": "train"}))

    assert machine.CALLS == ["train"]
    assert not list(tmp_path.glob("runs/dummy/*-train"))
    assert not list(tmp_path.glob("runs/dummy/.lock"))
