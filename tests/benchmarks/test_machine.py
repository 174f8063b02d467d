import importlib
import subprocess

import pytest


@pytest.fixture
def machine(_on_path):
    return importlib.import_module("machine")


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_the_facts_name_what_a_number_depends_on(machine):
    facts = machine.machine_facts(seed=7)
    assert facts["seed"] == "7"
    assert {"cpu", "cores", "threads", "gpu", "torch", "transformers", "date", "commit"} <= facts.keys()
    assert all(facts.values())


def test_the_commit_tells_when_tracked_files_differ_from_it(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    assert machine.git_commit() == "none"
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "begin")
    clean = machine.git_commit()
    assert len(clean) == 12
    (tmp_path / "notes.txt").write_text("untracked")
    assert machine.git_commit() == clean
    (tmp_path / "code.py").write_text("2")
    assert machine.git_commit() == f"{clean} with uncommitted changes"


def test_results_are_appended_below_those_before(machine, tmp_path):
    path = tmp_path / "RESULTS.md"
    machine.record(machine.section("First", {"cpu": "x", "seed": "1"}, ["| a |"]), path)
    machine.record(machine.section("Second", {"cpu": "y"}, ["b", "c"]), path)
    header, first, second = path.read_text().split("\n## ")
    assert header.startswith("# Results\n")
    assert first == "First\n\ncpu x; seed 1.\n\n| a |\n"
    assert second == "Second\n\ncpu y.\n\nb\n\nc\n"
