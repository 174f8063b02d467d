from pathlib import Path

import pytest

from pipeline.artifacts.commands import run_command


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """Make the folder of a run whose recipe calls it ``made``, and return its path."""
    monkeypatch.chdir(tmp_path)

    def make(path, recipe="name: made\n"):
        folder = tmp_path / path
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(recipe)
        return folder.relative_to(tmp_path)

    return make


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("runs/made", "pruneline run runs/made/recipe.yaml --from cut"),
        ("made", "pruneline run made/recipe.yaml --from cut --runs-dir ."),
        ("my runs/made", "pruneline run 'my runs/made/recipe.yaml' --from cut --runs-dir 'my runs'"),
        ("runs/kept", "pruneline run runs/kept/recipe.yaml --from cut --set name=kept"),
        ("runs/10", "pruneline run runs/10/recipe.yaml --from cut --set 'name=\"10\"'"),
        ("runs/True", "pruneline run runs/True/recipe.yaml --from cut --set 'name=\"True\"'"),
        (
            "runs/moved run",
            "mv 'runs/moved run' runs/moved-run && "
            "pruneline run runs/moved-run/recipe.yaml --from cut --set name=moved-run",
        ),
    ],
)
def test_the_command_goes_on_in_the_folder_that_the_run_is_in(run_dir, path, command):
    assert run_command(run_dir(path), "cut") == command


def test_without_a_stage_the_whole_recipe_is_run(run_dir):
    assert run_command(run_dir("runs/made")) == "pruneline run runs/made/recipe.yaml"


def test_a_run_named_by_where_one_stands_is_told_by_its_whole_path(run_dir, monkeypatch, tmp_path):
    monkeypatch.chdir(run_dir("runs/made"))
    whole = tmp_path.resolve() / "runs"
    assert run_command(Path()) == f"pruneline run {whole}/made/recipe.yaml --runs-dir {whole}"


@pytest.mark.parametrize("recipe", ["name: [made", "- made\n", "seed: 1\n"])
def test_a_recipe_that_tells_no_name_leaves_it_out(run_dir, recipe):
    assert run_command(run_dir("runs/kept", recipe)) == "pruneline run runs/kept/recipe.yaml"
