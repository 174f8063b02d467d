"""What is wrong with a recipe or its data is one line on standard error, status 2, and an untouched run folder."""

import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from pipeline.api import evaluate, run
from pipeline.cli import main
from pipeline.errors import DataError

ROWS = [{"text": f"a {'fine' if row % 2 else 'poor'} film {row}", "label": row % 2} for row in range(12)]


def digests(folder):
    """Return the sha256 of every file below, hidden ones included."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def set_at(document, path, value):
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    for key in way:
        document = document[key]
    document[last] = value


def spell(document):
    """Return a recipe as YAML with a key on each line; JSON is YAML, but spells not-a-number another way."""
    return json.dumps(document, indent=1).replace("NaN", ".nan")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_text):
    """A folder with a good recipe, local data, and a run whose first stage is committed."""
    folder = tmp_path_factory.mktemp("bad")
    recipe = copy.deepcopy(tiny_text)
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "validation")}
    recipe["task"] |= {"dataset": {"path": "json", "data_files": files}, "train_rows": None, "validation_rows": None}
    recipe["training"]["epochs"] = 1
    (folder / "good.yaml").write_text(spell(recipe))
    run(folder / "good.yaml", runs_dir=folder / "runs", until="finetune")
    return folder


@pytest.fixture
def good(folder):
    return json.loads((folder / "good.yaml").read_text())


@pytest.fixture
def refused(folder, capfd):
    """Call the command in this process, check what every refusal has in common, and return its one line."""

    def call(recipe, *options, text=None):
        path = folder / "recipe.yaml"
        if text is not None or not isinstance(recipe, str):
            path.write_text(text if text is not None else spell(recipe))
        before = digests(folder)
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(
                ["run", recipe if isinstance(recipe, str) else str(path), "--runs-dir", str(folder / "runs"), *options]
            )
        printed = capfd.readouterr()
        assert stopped.value.code == 2, printed.err
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1, printed.err
        assert digests(folder) == before
        return printed.err.strip().replace(f"{folder}/", "")

    return call


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("training.epoch", 1, "training.epoch: unknown key (did you mean 'epochs'?); allowed: epochs, steps,"),
        ("training.epochs", True, "training.epochs: must be a number above 0 or null, got true"),
        ("training.learning_rate", float("nan"), "training.learning_rate: must be a finite number, got .nan"),
        ("stages.1.sparsity", 1.5, "stages.prune_heads.sparsity: must be in [0, 1), got 1.5"),
        (
            "stages.1.uses",
            "prune",
            "stages.1.uses: unknown stage (did you mean 'prune_ffn'?); must be one of finetune,",
        ),
        ("stages.2.name", "finetune", "stages.2: two stages are called 'finetune'; give one of them another name"),
        (
            "model.config.model_type",
            "gpt9",
            "model.config.model_type: model type 'gpt9' is not supported; supported are",
        ),
        (
            "task.dataset.data_files.train",
            "no.jsonl",
            "task.dataset.data_files.train: must be an existing file, got 'no",
        ),
        ("stages", [], "stages: must be a list of at least 1 value, each value a mapping of keys to values, got []"),
        ("stages.4.teacher", "recover_ffn", "stages.recover_ffn.teacher: must be a stage before 'recover_ffn'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line_path_and_what_is_allowed(refused, good, path, value, expected):
    set_at(good, path, value)
    line = refused(good)
    place, _, message = line.partition(": ")
    assert place.startswith("recipe.yaml:")
    assert message.startswith(expected)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("task.text", "sentence", ("sentence", "text, label")),
        ("task.label", "lable", ("lable", "text, label")),
        ("task.labels", ["only one"], ("task.label", "only one", "two are the least")),
        ("task.validation", ["test"], ("test", "train, validation")),
        ("task.train", "training", ("training", "train, validation")),
        ("model.config.hidden_size", 17, ("model.config", "17")),
        ("model.config.hiden_size", 16, ("model.config.hiden_size", "hidden_size")),
        ("model.config.num_attention_heads", -1, ("model: fails on two rows of the data", "mend the sizes")),
        ("model.config.num_hidden_layers", 0, ("model: must have at least one transformer layer",)),
    ],
)
def test_data_or_sizes_that_do_not_fit_are_refused_before_anything_is_written(refused, good, path, value, expected):
    set_at(good, path, value)
    line = refused(good)
    assert all(part in line for part in expected), line


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "empty"),
        ([{"text": "a", "label": 0}, {"text": "b", "label": -1}], "-1"),
        ([{"text": "a", "label": 0}, {"text": None, "label": 1}], "text"),
        ([{"text": "a", "label": 0}, {"text": "b", "label": None}], "label"),
        ([{"text": "a", "label": 0}, {"text": "b", "label": 0.5}], "0.5"),
    ],
    ids=["an empty split", "a label outside the range", "a missing text", "a missing label", "a fraction for a label"],
)
def test_rows_that_cannot_be_are_refused_before_anything_is_written(refused, good, folder, rows, expected):
    (folder / "wrong.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    set_at(good, "task.dataset.data_files.train", str(folder / "wrong.jsonl"))
    assert expected in refused(good)


def test_an_image_smaller_than_a_patch_is_refused_before_anything_is_written(refused, image_recipe):
    image_recipe["model"]["config"] |= {"image_size": 2, "num_channels": 3}
    assert refused(image_recipe).startswith("model: fails on two rows of the data (")


@pytest.fixture
def otherwise(good, folder):
    """The good recipe over named classes, and a model whose head tells the same ones in another order."""
    named = [{**row, "label": ("bad", "good")[row["label"]]} for row in ROWS]
    (folder / "named.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    for split in ("train", "validation"):
        set_at(good, f"task.dataset.data_files.{split}", str(folder / "named.jsonl"))
    model = folder / "otherwise"
    shutil.copytree(folder / "runs" / "tiny" / "01-finetune" / "model", model, dirs_exist_ok=True)
    config = json.loads((model / "config.json").read_text())
    config |= {"id2label": {"0": "good", "1": "bad"}, "label2id": {"good": 0, "bad": 1}}
    (model / "config.json").chmod(0o644)
    (model / "config.json").write_text(json.dumps(config))
    return model


@pytest.mark.parametrize("path", ["model", "stages.2.teacher"])
def test_a_head_that_numbers_the_classes_otherwise_is_refused_before_anything_is_written(
    refused, good, otherwise, path
):
    set_at(good, path, str(otherwise))
    assert "tells good, bad, the data's classes are bad, good, in another order; say task.labels: [good, bad]" in (
        refused(good)
    )


def test_a_model_that_numbers_the_classes_otherwise_is_not_evaluated_as_if_it_did_not(good, otherwise, folder):
    with pytest.raises(DataError, match=r"in another order; say task\.labels: \[good, bad\]"):
        evaluate(otherwise, good, runs_dir=folder / "runs")
    set_at(good, "task.labels", ["good", "bad"])
    assert 0 <= evaluate(otherwise, good, runs_dir=folder / "runs").metrics["validation/accuracy"] <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stages: [", "recipe.yaml:1: is not YAML: "),
        ("", "recipe.yaml: is empty; a recipe holds at least model, task and stages"),
        ("42", "recipe.yaml:1: a recipe must be a mapping of keys to values, got 42"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(refused, text, expected):
    assert refused({}, text=text).startswith(expected)


def test_what_is_asked_of_a_good_recipe_is_refused_where_it_cannot_be(refused, folder):
    good = str(folder / "good.yaml")
    assert refused(str(folder / "none.yaml")).startswith(
        "none.yaml: no such recipe; give a YAML file or a shipped one: "
    )
    assert refused(good, "--from", "prune").startswith("--from: must be a stage of the recipe (finetune, prune_heads,")
    assert refused(good, "--from", "prune_ffn").startswith(
        "--from: prune_ffn needs recover_heads, which has no artifact"
    )
    assert refused(good, "--until", "prune").startswith(
        "--until: must be a stage of the recipe (finetune, prune_heads,"
    )
    assert refused(good, "--set", "training.batch_size=0") == "--set: training.batch_size: must be above 0, got 0"
    assert refused(good, "--until").startswith("Option '--until' requires an argument.")


def test_several_mistakes_are_a_line_each(folder, good, capfd):
    set_at(good, "seed", -1)
    set_at(good, "training.batch_size", 0)
    (folder / "recipe.yaml").write_text(spell(good))
    with pytest.raises(SystemExit) as stopped:
        main(["plan", str(folder / "recipe.yaml"), "--runs-dir", str(folder / "runs")])
    assert stopped.value.code == 2
    assert [line.split(": ")[1] for line in capfd.readouterr().err.splitlines()] == ["seed", "training.batch_size"]


def test_a_process_says_it_in_one_line_and_exits_with_2(folder, good):
    """Three of the cases above as a user meets them: a wrong value, wrong data, a wrong call."""
    cases = []
    for name, path, value in (("value", "training.epochs", True), ("data", "task.label", "lable")):
        changed = copy.deepcopy(good)
        set_at(changed, path, value)
        (folder / f"{name}.yaml").write_text(spell(changed))
        cases.append(([f"{folder}/{name}.yaml"], str(value).lower()))
    cases.append(([f"{folder}/good.yaml", "--from", "prune_ffn"], "--from"))
    before = digests(folder)
    for arguments, expected in cases:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "run", *arguments, "--runs-dir", f"{folder}/runs"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert expected in done.stderr
    assert digests(folder) == before
