"""Every file of an artifact, flipped at its first, middle or last byte, missing or added, is refused by name."""

import os
import re
import shutil

import pytest

from pipeline import Run
from pipeline.errors import ArtifactError
from pipeline.runner import describe_runs

FILES = (
    "manifest.json",
    "keep_plan.json",
    "total_keep_plan.json",
    "metrics.jsonl",
    "model/README.md",
    "model/config.json",
    "model/model.safetensors",
    "model/tokenizer.json",
)
PLACES = {"first": lambda size: 0, "middle": lambda size: size // 2, "last": lambda size: size - 1}


@pytest.fixture
def run(machine):
    return machine.run(machine.recipe({"uses": "train"}, {"uses": "cut"}))


def test_the_files_are_all_that_an_artifact_has(run):
    folder = run["cut"].path
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(FILES)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("file", FILES)
def test_flipped_byte_is_refused_by_name_with_the_way_to_redo(machine, run, file, place):
    path = run["cut"].path / file
    data = bytearray(path.read_bytes())
    data[PLACES[place](len(data))] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)

    message = re.escape(f"02-cut/{file}") + r" .*redo it with: pruneline run runs/dummy/recipe\.yaml --from cut"
    with pytest.raises(ArtifactError, match=message):
        Run.open("runs/dummy")["cut"].verify()
    with pytest.raises(ArtifactError, match=message):
        machine.run(machine.recipe({"uses": "train"}, {"uses": "cut"}))


@pytest.mark.parametrize("file", FILES)
def test_missing_file_is_refused_by_name(machine, run, file):
    (run["cut"].path / file).unlink()

    with pytest.raises(ArtifactError, match=re.escape(f"02-cut/{file}") + " is missing; redo it with"):
        machine.run(machine.recipe({"uses": "train"}, {"uses": "cut"}))


def test_added_file_is_refused_by_name(machine, run):
    (run["cut"].model_dir / "added_tokens.json").write_text("{}")

    with pytest.raises(ArtifactError, match=r"02-cut/model/added_tokens\.json is no part of the artifact"):
        machine.run(machine.recipe({"uses": "train"}, {"uses": "cut"}))


def test_changed_space_in_the_manifest_is_refused(run):
    path = run["cut"].path / "manifest.json"
    data = path.read_bytes()
    path.chmod(0o644)
    for changed in (data.replace(b"  ", b"\t", 1), data + b"\n", data.replace(b"\n", b"\r\n", 1), data[:-1], b""):
        assert changed != data
        path.write_bytes(changed)
        with pytest.raises(ArtifactError, match=r"manifest\.json cannot be trusted"):
            run["cut"].verify()


def test_byte_flipped_behind_an_unchanged_size_and_mtime_is_found(machine, run):
    path = run["cut"].model_dir / "model.safetensors"
    stat = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    with pytest.raises(ArtifactError, match="is damaged"):
        machine.run(machine.recipe({"uses": "train"}, {"uses": "cut"}))


def test_damaged_cache_of_digests_is_no_damage(machine, run):
    recipe = machine.recipe({"uses": "train"}, {"uses": "cut"})
    cache = run.path / ".digests.json"
    data = cache.read_bytes()
    for place in PLACES.values():
        flipped = bytearray(data)
        flipped[place(len(data))] ^= 1
        cache.write_bytes(flipped)
        assert machine.plan(recipe).is_fresh


def test_every_damaged_artifact_is_mended_by_the_command_in_the_message(machine, run):
    for name in ("train", "cut"):
        (run[name].path / "manifest.json").unlink()
    recipe = machine.recipe({"uses": "train"}, {"uses": "cut"})

    with pytest.raises(ArtifactError, match="--from train"):
        machine.run(recipe)

    assert machine.run(recipe, from_stage="train").stages == ("train", "cut")
    assert machine.plan(recipe).is_fresh


def test_copy_of_an_artifact_is_no_stage_and_hinders_no_redo(machine, run):
    shutil.copytree(run["train"].path, "runs/dummy/01-train-backup")
    recipe = machine.recipe({"uses": "train", "add": 2}, {"uses": "cut"})

    assert machine.states(machine.plan(recipe)) == ["stale", "depends"]
    assert machine.run(recipe)["train"].manifest.document["config"]["add"] == 2
    assert machine.plan(recipe).is_fresh


@pytest.mark.parametrize("command", ["run", "plan"])
def test_two_folders_of_one_stage_are_refused_before_anything_runs(machine, run, command):
    shutil.copytree(run["cut"].path, "runs/dummy/03-cut")
    machine.CALLS.clear()

    with pytest.raises(ArtifactError, match=r"runs/dummy: 02-cut and 03-cut are both of the stage cut"):
        getattr(machine, command)(machine.recipe({"uses": "train", "add": 2}, {"uses": "cut"}))

    assert machine.CALLS == []
    (status,) = describe_runs("runs", machine.STAGES, verify=True)
    assert "02-cut and 03-cut" in status.problem


def test_what_is_in_the_place_of_a_stage_is_told_before_anything_runs(machine, run):
    run["cut"].path.rename("runs/dummy/03-more")
    recipe = machine.recipe({"uses": "train", "add": 2}, {"uses": "cut"}, {"uses": "cut", "name": "more"})
    machine.CALLS.clear()

    with pytest.raises(ArtifactError, match=r"runs/dummy/03-more: must be free for the stage it is named by; move"):
        machine.run(recipe)

    assert machine.CALLS == []
