import pytest

from pipeline import api
from pipeline.errors import ArtifactError, RecipeError
from pipeline.reporting.measurement import find_target


@pytest.fixture
def beside_a_recipe(own_run, tmp_path, monkeypatch):
    """The layout of a project: a recipe, and the run called made in the folder of the runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "recipe.yaml").write_bytes((own_run.path / "recipe.yaml").read_bytes())
    own_run.path.rename("runs/made")
    return tmp_path


@pytest.mark.parametrize(
    ("target", "stage"),
    [
        ("made", "again"),
        ("runs/made", "again"),
        ("made/recover", "recover"),
        ("made/03-recover", "recover"),
        ("runs/made/recover", "recover"),
    ],
)
def test_a_run_is_found_where_the_folder_holds_a_recipe(beside_a_recipe, target, stage):
    found = find_target(target, "runs")
    assert (found.run.name, found.artifact.name) == ("made", stage)


@pytest.mark.parametrize("name", ["gpt2", "org/name"])
def test_a_hub_id_is_no_stage_of_the_folder_that_holds_a_recipe(beside_a_recipe, name):
    found = find_target(name, "runs")
    assert (str(found.folder), found.run) == (name, None)


def test_a_stage_is_found_from_within_its_run(beside_a_recipe, monkeypatch):
    monkeypatch.chdir("runs/made")
    assert find_target("recover", "runs").artifact.name == "recover"
    assert find_target("03-recover", "runs").artifact.name == "recover"


def test_what_a_run_does_not_have_is_told_with_what_it_has(beside_a_recipe):
    for target in ("made/nothing", "runs/made/nothing"):
        with pytest.raises(ArtifactError, match=r"^runs/made: no stage 'nothing' is committed; there are: finetune, "):
            find_target(target, "runs")


def test_the_report_of_a_run_that_is_not_there_says_so(beside_a_recipe):
    assert [path.parent.name for path in api.report("made")] == ["made"] * 3
    with pytest.raises(RecipeError, match=r"^other: no such run in runs; "):
        api.report("other")


def test_a_run_without_a_stage_tells_the_command_that_works_where_it_is(beside_a_recipe, tmp_path):
    (tmp_path / "elsewhere" / "kept").mkdir(parents=True)
    (tmp_path / "elsewhere" / "kept" / "recipe.yaml").write_text("name: made\nstages: [{uses: finetune}]\n")
    told = "finish one with: pruneline run elsewhere/kept/recipe.yaml --set name=kept --runs-dir elsewhere$"
    with pytest.raises(RecipeError, match=told):
        find_target("kept", "elsewhere")
