import json
from types import SimpleNamespace

import pytest
import torch

from pipeline.errors import DataError, RecipeError
from pipeline.recipe.sources import DatasetSource

ROWS = [
    {"text": "a warm film", "other": "b", "label": 1},
    {"text": "dull", "other": "a dull and noisy plot", "label": 0},
    {"text": "a clever , moving and honest ending", "other": "c d", "label": 1},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def labels(split):
    return split.batch(range(len(split)))["labels"]


@pytest.mark.parametrize("columns", [["text"], ["text", "other"]])
def test_a_batch_is_what_the_tokenizer_gives_padded_to_the_longest(make, columns):
    task = make(text=columns, max_length=9)
    rows = [2, 0]
    expected = task.tokenizer(
        *[[ROWS[row][column] for row in rows] for column in columns],
        truncation=True,
        max_length=9,
        padding=True,
        return_tensors="pt",
    )
    batch = task.train.batch(rows)
    assert set(batch) == {*expected, "labels"}
    for name, values in expected.items():
        assert batch[name].dtype == torch.int64
        assert torch.equal(batch[name], values)
    assert batch["labels"].tolist() == [1, 1]


def test_lengths_count_the_tokens_and_are_cut_at_max_length(make):
    task = make(max_length=5)
    expected = [int(task.train.batch([row])["attention_mask"].sum()) for row in range(3)]
    assert task.train.lengths.tolist() == expected
    assert max(expected) == 5 > min(expected)


def test_token_mask_is_true_exactly_for_real_tokens(make):
    task = make()
    batch = task.train.batch([0, 1, 2])
    mask = task.token_mask(batch)
    assert mask.dtype == torch.bool
    assert mask.sum(1).tolist() == task.train.lengths.tolist()
    assert (batch["input_ids"][~mask] == task.tokenizer.pad_token_id).all()


def test_texts_are_tokenized_only_when_a_batch_is_asked_for(make, monkeypatch):
    calls = []
    monkeypatch.setattr("pipeline.tasks.text_classification.tokenize", lambda *args: calls.append(args))
    task = make()
    assert len(task.train) == 3
    assert not calls


def test_a_features_class_names_keep_their_order(make):
    task = make(dataset=DatasetSource(builtin="grammar", rows=20), max_length=48)
    assert task.config_fields()["id2label"] == {0: "negative", 1: "positive"}
    assert set(labels(task.train).tolist()) == {0, 1}


def test_regression_has_one_output_and_float_labels(make):
    rows = [{**row, "label": value} for row, value in zip(ROWS, [0.5, 2, 5.0], strict=True)]
    task = make(rows, rows, regression=True, metric=["pearson", "spearman"])
    assert labels(task.train).dtype == torch.float32
    assert labels(task.train).tolist() == [0.5, 2.0, 5.0]
    config = task.config_fields()
    assert (config["num_labels"], config["problem_type"]) == (1, "regression")
    assert task.is_regression()
    batch = task.train.batch([0, 1, 2])
    outputs = SimpleNamespace(logits=torch.tensor([[1.0], [2.0], [4.0]]))
    predictions, references = task.predictions(outputs, batch)
    assert (predictions, references) == ([1.0, 2.0, 4.0], [0.5, 2.0, 5.0])
    assert task.score(predictions, references)["spearman"] == pytest.approx(1.0)


def test_predictions_are_the_likeliest_classes_and_score_has_every_metric(make):
    task = make(metric=["f1", "accuracy"])
    outputs = SimpleNamespace(logits=torch.tensor([[0.0, 1.0], [0.0, 1.0], [2.0, 1.0]]))
    predictions, references = task.predictions(outputs, task.train.batch([0, 1, 2]))
    assert (predictions, references) == ([1, 1, 0], [1, 0, 1])
    assert task.score(predictions, references) == {"f1": 0.5, "accuracy": pytest.approx(1 / 3)}
    assert task.main_metric() == "f1"
    assert task.logits(outputs) == (outputs.logits,)


def grammar_task(make, **fields):
    return make(dataset=DatasetSource(builtin="grammar", rows=40), max_length=48, **fields)


def rows_of(split):
    batches = [split.batch([row]) for row in range(len(split))]
    return {tuple(batch["input_ids"][0].tolist()) for batch in batches}


def test_a_share_to_select_on_is_taken_out_of_train_and_depends_on_the_seed_alone(make, tmp_path):
    grammar_task(make).save_processor(tmp_path)
    whole = rows_of(grammar_task(make, processor_dir=tmp_path).train)
    task, again, other = (grammar_task(make, processor_dir=tmp_path, select=0.25, seed=seed) for seed in (0, 0, 1))
    assert (len(task.select), len(task.train)) == (10, 30)
    assert task.select.name == "select"
    assert rows_of(task.select) | rows_of(task.train) == whole
    assert not rows_of(task.select) & rows_of(task.train)
    assert rows_of(task.select) == rows_of(again.select) != rows_of(other.select)
    assert list(task.validation) == ["validation"]


def test_a_split_to_select_on_is_not_reported(make, tmp_path):
    paths = {split: write(tmp_path / split, ROWS) for split in ("train", "validation", "extra")}
    task = make(dataset=DatasetSource(path="json", data_files=paths), select="extra")
    assert (len(task.select), task.select.name) == (3, "extra")
    assert list(task.validation) == ["validation"]


def test_several_validation_splits_are_kept_apart(make, tmp_path):
    paths = {split: write(tmp_path / split, ROWS[:count]) for count, split in ((3, "train"), (2, "m"), (1, "mm"))}
    task = make(dataset=DatasetSource(path="json", data_files=paths), validation=["m", "mm"])
    assert {name: len(split) for name, split in task.validation.items()} == {"m": 2, "mm": 1}


def test_row_limits_keep_the_first_rows_and_every_class(make):
    task = make(train_rows=1, validation_rows=2)
    assert (len(task.train), len(task.validation["validation"])) == (1, 2)
    assert labels(task.train).tolist() == [1]
    assert task.config_fields()["num_labels"] == 2


@pytest.mark.parametrize(
    ("train", "validation", "fields", "expected"),
    [
        (ROWS, ROWS, {"train": "test"}, "task.train: no split 'test'; the data set has train, validation"),
        (ROWS, ROWS, {"validation": ["x"]}, "task.validation: no split 'x'"),
        (ROWS, ROWS, {"select": "x"}, "task.select: no split 'x'"),
        (ROWS, ROWS, {"text": "body"}, "task.text: no column 'body' in split 'train'; it has text, other, label"),
        (ROWS, ROWS, {"label": "class"}, "task.label: no column 'class' in split 'train'"),
        (ROWS, [{"text": "x"}], {}, "task.label: no column 'label' in split 'validation'"),
        (ROWS, ROWS, {"text": "label", "label": "other"}, "column 'label' of split 'train' holds int64, not text"),
        ([*ROWS, {**ROWS[0], "text": None}], ROWS, {}, "split 'train', row 4, column 'text': the text is null"),
        ([*ROWS, {**ROWS[0], "label": None}], ROWS, {}, "split 'train', row 4, column 'label': the label is null"),
        (ROWS, [ROWS[0], {**ROWS[0], "label": 2}], {}, "split 'validation', row 2, column 'label': label 2 is out of"),
        (ROWS, [{**ROWS[0], "label": -1}], {}, "label -1 is out of range: class numbers go from 0 to 1"),
        ([*ROWS, {**ROWS[0], "label": 7}], ROWS, {}, "class numbers 0, 1, 7, which must count from 0 without gaps"),
        (ROWS, [{**ROWS[0], "label": "good"}], {}, "label 'good' is not a class; give class numbers or names"),
        (ROWS, ROWS, {"labels": ["only"]}, "holds one class only (only)"),
        (ROWS[:1], ROWS, {}, "the class numbers 1, which must count from 0"),
        ([{**ROWS[0], "label": "same"}], ROWS, {}, "holds one class only (same)"),
        ([{**row, "label": 0.5} for row in ROWS], ROWS, {}, "row 1, column 'label': label 0.5 is not a class"),
        (
            [{**row, "label": "x"} for row in ROWS],
            ROWS,
            {"regression": True, "metric": "pearson"},
            "'x' is not a number",
        ),
        (ROWS, ROWS, {"max_length": 3, "text": ["text", "other"]}, "task.max_length: must be at least 5"),
        (ROWS[:1], ROWS, {"select": 0.5, "labels": ["a", "b"]}, "cannot take a share of 1 row of 'train'"),
    ],
)
def test_data_that_is_not_what_the_recipe_says_is_refused_in_one_line(make, train, validation, fields, expected):
    with pytest.raises(DataError) as caught:
        make(train, validation, **fields)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_classes_called_by_decimals_are_read_from_csv_as_they_are_written(make, tmp_path):
    path = tmp_path / "versions.csv"
    path.write_text("text,label\nold,3.9\nolder,3.1\nnew,3.10\n")
    dataset = DatasetSource(path="csv", data_files={"train": str(path), "validation": str(path)})
    task = make(dataset=dataset, labels=["3.1", "3.9", "3.10"])
    assert labels(task.train).tolist() == [1, 0, 2]
    assert task.config_fields()["id2label"] == {0: "3.1", 1: "3.9", 2: "3.10"}


def test_columns_that_the_task_does_not_read_may_hold_anything(make):
    odd = [1, "x", 2**70]
    task = make([{**row, "id": value} for row, value in zip(ROWS, odd, strict=True)], labels=["bad", "good"])
    assert labels(task.train).tolist() == [1, 0, 1]


def test_an_empty_split_is_refused(make, tmp_path):
    (tmp_path / "empty.csv").write_text("text,label\n")
    (tmp_path / "full.csv").write_text("text,label\nx,0\ny,1\n")
    files = {"train": str(tmp_path / "full.csv"), "validation": str(tmp_path / "empty.csv")}
    with pytest.raises(DataError, match="split 'validation' is empty"):
        make(dataset=DatasetSource(path="csv", data_files=files))


def test_a_metric_of_classes_is_refused_for_regression(make):
    with pytest.raises(RecipeError, match="accuracy compares classes"):
        make(regression=True)


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_texts_and_names_of_a_file_without_types_that_look_like_numbers_stay_as_written(make, tmp_path, kind):
    rows = [("text", "label"), ("001", "01"), ("1_000", "02"), ("12", "01")]
    (tmp_path / "rows").write_text(
        "".join(f"{text}{',' if kind == 'csv' else chr(9)}{label}\n" for text, label in rows)
    )
    files = {split: str(tmp_path / "rows") for split in ("train", "validation")}
    task = make(dataset=DatasetSource(path=kind, data_files=files))
    assert task.config_fields()["id2label"] == {0: "01", 1: "02"}
    assert labels(task.train).tolist() == [0, 1, 0]
    assert task.tokenizer.decode(task.train.batch([0])["input_ids"][0], skip_special_tokens=True) == "001"
