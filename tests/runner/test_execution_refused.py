import sys

import pytest

from pipeline import Run
from pipeline.artifacts.lock import RunLock
from pipeline.errors import ArtifactError, RecipeError


def test_second_writer_is_refused_and_told_of_the_first(machine):
    machine.run()
    with (
        RunLock(Run.open("runs/dummy").path),
        pytest.raises(ArtifactError, match=r"another process works on this run: process \d+ on "),
    ):
        machine.run(from_stage="cut")
    machine.run(from_stage="cut")


def test_damaged_parent_is_refused_when_it_is_used_and_mended_by_from(machine):
    run = machine.run()
    weights = run["cut"].model_dir / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"[9]")

    with pytest.raises(ArtifactError, match=r"02-cut/model/model.safetensors is damaged; redo it with: .* --from cut"):
        machine.run()
    with pytest.raises(ArtifactError, match="--from cut"):
        machine.run(from_stage="recover")

    machine.run(from_stage="cut")
    assert machine.plan().is_fresh


def test_wrong_data_is_told_before_anything_is_written(machine, monkeypatch, tmp_path):
    def refuse(*args, **options):
        raise RecipeError("task.label: no such column")

    monkeypatch.setattr(sys.modules["pipeline.tasks"], "build_task", refuse)
    with pytest.raises(RecipeError):
        machine.run()
    assert not (tmp_path / "runs").exists()


def test_full_disk_gives_one_line_and_leaves_earlier_artifacts(machine, monkeypatch):
    machine.run(until="train")
    before = machine.digests()

    def full(model, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["pipeline.models"], "save_model", full)
    with pytest.raises(ArtifactError, match="cannot be written") as error:
        machine.run()
    assert "\n" not in str(error.value)
    after = machine.digests()
    assert {name: after[name] for name in before if name.startswith("01-")} == {
        name: value for name, value in before.items() if name.startswith("01-")
    }
    assert not list(Run.open("runs/dummy").path.glob(".new*"))


@pytest.mark.parametrize("option", ["from_stage", "until"])
def test_unknown_stage_is_refused(machine, option):
    with pytest.raises(RecipeError, match=r"must be a stage of the recipe \(train, cut, recover\), got nothing"):
        machine.plan(**{option: "nothing"})


def test_from_without_its_parents_is_refused_and_writes_nothing(machine, tmp_path):
    with pytest.raises(RecipeError, match="recover needs cut, which has no artifact"):
        machine.plan(from_stage="recover")
    assert not (tmp_path / "runs").exists()


def test_until_before_from_is_refused(machine):
    with pytest.raises(RecipeError, match="must not come before --from cut"):
        machine.plan(from_stage="cut", until="train")
