"""A process that ends at any named point of a commit leaves the old artifact or the new one."""

import json
import os
import subprocess
import sys

import pytest

from pipeline import Run
from pipeline.artifacts import commit
from pipeline.artifacts.commit import COMMIT_POINTS, CRASH_VARIABLE, reach
from pipeline.runner.stage_run import RUN_POINTS

POINTS = (*COMMIT_POINTS, *RUN_POINTS)
ONLY_IN_A_REDO = {"commit.old_moved"}
COMMITTED_FROM = {"commit.old_moved", "commit.new_moved", "commit.old_removed", "stage.committed"}


def crash(machine, point, *arguments):
    command = [sys.executable, machine.__file__, json.dumps(machine.recipe({"uses": "train"})), *arguments]
    done = subprocess.run(command, env={**os.environ, CRASH_VARIABLE: point}, capture_output=True, text=True)
    assert done.returncode == 99, done.stderr


@pytest.mark.parametrize("point", [point for point in POINTS if point not in ONLY_IN_A_REDO])
def test_first_commit_is_whole_or_not_there_and_the_next_run_finishes(machine, point):
    crash(machine, point)

    run = Run.open("runs/dummy")
    assert run.stages == (("train",) if point in COMMITTED_FROM else ())
    for name in run.stages:
        run[name].verify()

    run = machine.run(machine.recipe({"uses": "train"}))
    run["train"].verify()
    assert sorted(path.name for path in run.path.iterdir() if not path.name.startswith(".")) == [
        "01-train",
        "recipe.yaml",
        "report.md",
    ]
    assert not [path for path in run.path.iterdir() if path.name.startswith((".new", ".old"))]


@pytest.mark.parametrize("point", POINTS)
def test_redo_leaves_the_old_or_the_new_artifact_and_the_next_run_finishes_the_redo(machine, point):
    recipe = machine.recipe({"uses": "train"})
    old = machine.run(recipe)["train"].manifest

    crash(machine, point, "train")

    artifact = Run.open("runs/dummy")["train"]
    artifact.verify()
    assert (artifact.manifest != old) == (point in COMMITTED_FROM)

    assert machine.run(recipe)["train"].manifest != old
    assert machine.plan(recipe).is_fresh


def test_redo_that_was_killed_goes_on_when_its_command_is_repeated(machine):
    recipe = machine.recipe({"uses": "train"})
    machine.run(recipe)
    crash(machine, "stage.ran", "train")
    machine.CALLS.clear()

    machine.run(recipe, from_stage="train")

    assert machine.CALLS == ["train", "train resumed"]


def test_crash_during_recovery_is_recovered_from(machine, monkeypatch):
    recipe = machine.recipe({"uses": "train"})
    old = machine.run(recipe)["train"].manifest
    crash(machine, "commit.old_moved", "train")
    with monkeypatch.context() as dying:
        dying.setattr(commit, "_remove", lambda folder: None)
        Run.open("runs/dummy")

    artifact = Run.open("runs/dummy")["train"]
    artifact.verify()
    assert artifact.manifest != old
    assert not list(artifact.path.parent.glob(".old*"))


def test_plain_crash_variable_of_another_point_does_nothing(monkeypatch):
    ended = []
    monkeypatch.setattr(commit.os, "_exit", ended.append)
    monkeypatch.setenv(CRASH_VARIABLE, "another.point")
    reach("commit.begin")
    assert not ended
    reach("another.point")
    assert ended == [99]
