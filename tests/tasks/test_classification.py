from types import SimpleNamespace

import pytest

from pipeline.errors import DataError

ROWS = [
    {"text": "a warm film", "other": "b", "label": 1},
    {"text": "dull", "other": "a dull and noisy plot", "label": 0},
    {"text": "a clever , moving and honest ending", "other": "c d", "label": 1},
]


def labels(split):
    return split.batch(range(len(split)))["labels"]


class Config(SimpleNamespace):
    """As much of a model as its config, and an answer to every batch."""

    @property
    def config(self):
        return self

    def __call__(self, **batch):
        self.rows = len(batch["input_ids"])


def config(**fields):
    defaults = {
        "model_type": "bert",
        "num_labels": 2,
        "id2label": {0: "LABEL_0", 1: "LABEL_1"},
        "name_or_path": "",
        "vocab_size": 500,
        "max_position_embeddings": 32,
        "pad_token_id": 0,
    }
    return Config(**{**defaults, **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"num_labels": 3}, "the data has 2 classes, but the model's head has 3 outputs"),
        ({"max_position_embeddings": 31}, "must be at most 31, the positions of the model, got 32"),
        ({"model_type": "roberta", "pad_token_id": 1, "max_position_embeddings": 33}, "must be at most 31"),
        ({"model_type": "condensed-roberta", "pad_token_id": 1, "max_position_embeddings": 33}, "must be at most 31"),
        ({"vocab_size": 10}, "but the model embeds 10"),
    ],
)
def test_a_model_that_cannot_take_the_data_is_refused(make, fields, expected):
    with pytest.raises(DataError, match=expected):
        make().check_model(config(**fields))


@pytest.mark.parametrize(
    "fields",
    [{}, {"model_type": "roberta", "pad_token_id": 1, "max_position_embeddings": 34}, {"model_type": "condensed-bert"}],
)
def test_a_model_with_just_enough_positions_is_taken_and_tried_on_two_rows(make, fields):
    model = config(**fields)
    make().check_model(model)
    assert model.rows == 2


def test_a_model_that_fails_on_rows_of_the_data_is_refused_in_one_line(make, tiny_model):
    task = make()
    fields = {"num_labels": 2, "vocab_size": len(task.tokenizer)}
    task.check_model(tiny_model("bert", **fields))
    with pytest.raises(DataError, match=r"^model: fails on two rows of the data \(.*mend the sizes") as caught:
        task.check_model(tiny_model("bert", num_attention_heads=-1, **fields))
    assert "\n" not in str(caught.value)


NAMED = [{**row, "label": ("bad", "good")[row["label"]]} for row in ROWS]


def test_a_head_that_tells_the_classes_in_another_order_is_refused_with_the_labels_that_mend_it(make):
    permuted = {0: "Good", 1: "BAD"}
    with pytest.raises(DataError) as caught:
        make(NAMED, NAMED).check_model(config(id2label=permuted, name_or_path="some/model"))
    assert str(caught.value) == (
        "task.labels: the head of some/model tells Good, BAD, the data's classes are bad, good, in another order; "
        "say task.labels: [good, bad]"
    )
    mended = make(NAMED, NAMED, labels=["good", "bad"])
    mended.check_model(config(id2label=permuted))
    assert labels(mended.train).tolist() == [0, 1, 0]


def test_where_the_column_holds_class_numbers_another_order_of_names_would_mend_nothing(make):
    with pytest.raises(DataError, match=r"in another order; renumber column 'label' so, or mend task\.labels if only"):
        make(labels=["bad", "good"]).check_model(config(id2label={0: "good", 1: "bad"}))


@pytest.mark.parametrize(
    ("classes", "rows"),
    [
        ({0: "LABEL_0", 1: "LABEL_1"}, NAMED),
        ({0: "0", 1: "1"}, NAMED),
        ({1: "GOOD", 0: "BAD"}, NAMED),
        ({"1": "good", "0": "bad"}, NAMED),
        ({0: "good", 1: "bad"}, ROWS),
    ],
)
def test_a_head_that_says_nothing_else_than_the_data_is_taken(make, classes, rows):
    make(rows, rows).check_model(config(id2label=classes))


def test_other_classes_are_refused_but_for_a_head_that_is_trained_further(make, caplog):
    task = make(NAMED, NAMED)
    with pytest.raises(DataError, match="tells no, yes, the data's classes are bad, good; take data or a model with"):
        task.check_classes({0: "no", 1: "yes"}, "'some/model'")
    task.check_classes({0: "no", 1: "yes"}, "'some/model'", is_trained_further=True)
    assert "the head of 'some/model' tells no, yes, the data's classes are bad, good; the head is kept" in caplog.text
    with pytest.raises(DataError, match="in another order"):
        task.check_classes({0: "good", 1: "bad"}, "'some/model'", is_trained_further=True)


def test_the_output_of_a_regression_may_have_any_name(make):
    rows = [{**row, "label": value} for row, value in zip(ROWS, [0.5, 2, 5.0], strict=True)]
    task = make(rows, rows, regression=True, metric="pearson")
    task.check_model(config(num_labels=1, id2label={0: "stars"}))
