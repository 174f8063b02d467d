"""Which file is of which form, what is never read, and the command."""

import pytest

from pipeline import cli
from pipeline.api import convert_config
from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe
from stages import STAGES

KNOWN = {**STAGES, "sparsify": "stages.sparsify:Sparsify"}
WEIGHTS = "{pruning: {pattern: 4x1, op_names: [query], end_step: 10}}\n"
LIKE = {
    "name": "mine",
    "model": {"config": {"model_type": "bert"}},
    "task": {"type": "text-classification", "dataset": {"builtin": "grammar"}, "text": "text"},
    "training": {"batch_size": 4, "epochs": 2, "mixed_precision": "no", "max_grad_norm": None},
    "stages": [{"uses": "finetune"}],
}


def test_the_recipe_is_one_that_can_be_loaded(tmp_path):
    (tmp_path / "old.yaml").write_text(WEIGHTS)
    convert_config(tmp_path / "old.yaml", output=tmp_path / "new.yaml", like=LIKE, stages=KNOWN)
    recipe = load_recipe(tmp_path / "new.yaml", stages=KNOWN)
    assert (recipe.model.config, recipe.training.batch_size) == ({"model_type": "bert"}, 4)
    assert (recipe.training.mixed_precision, recipe.training.max_grad_norm) == ("no", None)
    config = recipe.stage("sparsify").config
    assert (config.steps, config.pattern, config.layers.include) == (10, "4x1", ("query",))
    text = (tmp_path / "new.yaml").read_text()
    assert "training: {batch_size: 4, max_grad_norm: null, mixed_precision: 'no'}" in text
    assert "To be filled in" not in text


def test_without_a_recipe_to_go_by_model_and_task_are_to_be_filled_in(tmp_path):
    (tmp_path / "old.yaml").write_text(WEIGHTS)
    lines = convert_config(tmp_path / "old.yaml", stages=KNOWN).text.splitlines()
    assert lines[0] == "# Converted from old.yaml, written for Intel Neural Compressor 2.x."
    assert lines[lines.index("model: your/model") - 1].startswith("# To be filled in")


def test_a_new_file_is_never_written_over_an_old_one(tmp_path):
    (tmp_path / "old.yaml").write_text(WEIGHTS)
    with pytest.raises(RecipeError, match=r"old\.yaml: exists already; must be a new file"):
        convert_config(tmp_path / "old.yaml", output=tmp_path / "old.yaml", stages=KNOWN)
    assert (tmp_path / "old.yaml").read_text() == WEIGHTS


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\n", "is no file that can be converted; must be in the form of Intel Neural Compressor's"),
        ("pruning: {approach: {magnitude: {}}}\n", "is no file that can be converted"),
        ("stages: [{uses: finetune}]\n", "is a recipe already"),
        ("just words\n", "cannot be converted: must hold a mapping, a list, or flags"),
        ("", "cannot be converted: must hold a mapping"),
        ("pruning: [\n", "is not YAML"),
        ("pruning:\n  a: !!python/object/apply:os.system ['x']\n", ":2: tag tag:yaml.org,2002:python/object/apply:os"),
        ("pruning:\n  pruners: [!Trimmer {op_names: []}]\n", ":2: unknown tag !Trimmer; allowed: !Pruner, !PrunerV2"),
        ("--train_steps 3\n--train_steps 4\n", ":2: train_steps: is given twice, first on line 1"),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(tmp_path, text, told):
    (tmp_path / "old.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        convert_config(tmp_path / "old.yaml", stages=KNOWN)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/old.yaml")
    assert told in line


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.yaml: cannot be read: No such file"):
        convert_config(tmp_path / "none.yaml", stages=KNOWN)


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "old.yaml").write_text(WEIGHTS)
    with pytest.raises(RecipeError, match=r"no/new.yaml: cannot be written \(No such file or directory\); must be a"):
        convert_config(tmp_path / "old.yaml", output=tmp_path / "no" / "new.yaml", stages=KNOWN)


def test_the_command_prints_the_recipe_or_writes_it_and_tells_what_it_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.api.convert_config.__kwdefaults__", {"output": None, "like": None, "stages": KNOWN})
    (tmp_path / "old.yaml").write_text(WEIGHTS)

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["convert-config", str(tmp_path / "old.yaml"), *arguments])
        return stopped.value.code, *capsys.readouterr()

    status, printed, errors = call()
    assert (status, errors) == (0, "")
    assert printed.startswith("# Converted from old.yaml")
    status, told, errors = call("-o", str(tmp_path / "new.yaml"))
    assert (status, told) == (0, f"{tmp_path}/new.yaml\n")
    assert "old.yaml:1: the file does not say how long to train" in errors
    assert (tmp_path / "new.yaml").read_text() == printed
    assert call("-o", str(tmp_path / "new.yaml"))[0] == 2
