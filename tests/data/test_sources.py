import random

import datasets
import numpy as np
import pytest

from pipeline.data.generated import MOST_ROWS, grammar
from pipeline.data.sources import load_splits
from pipeline.errors import DataError
from pipeline.recipe.sources import DatasetSource


@pytest.fixture(scope="module")
def digits():
    return load_splits(DatasetSource(builtin="digits"))


def test_digits_are_1347_and_450_images_with_each_class_in_proportion(digits):
    counts = {split: np.bincount(data["label"][:], minlength=10) for split, data in digits.items()}
    assert {split: int(count.sum()) for split, count in counts.items()} == {"train": 1347, "validation": 450}
    total = counts["train"] + counts["validation"]
    assert np.abs(counts["validation"] - total / 4).max() < 1


def test_digits_keep_the_pixels_of_scikit_learn(digits):
    from sklearn.datasets import load_digits

    ours = sorted(bytes(np.asarray(row["image"])) + bytes([row["label"]]) for split in digits.values() for row in split)
    images, labels = load_digits(return_X_y=True)
    theirs = np.rint(images * (255 / 16)).astype(np.uint8)
    assert ours == sorted(bytes(pixels) + bytes([label]) for pixels, label in zip(theirs, labels, strict=True))


def test_grammar_is_the_same_for_a_seed_and_leaves_the_global_generators_alone():
    state, numpy_state = random.getstate(), np.random.get_state()[1].copy()
    first, again, other = grammar(rows=40, seed=1), grammar(rows=40, seed=1), grammar(rows=40, seed=2)
    assert {split: data.to_list() for split, data in first.items()} == {
        split: data.to_list() for split, data in again.items()
    }
    assert first["train"].to_list() != other["train"].to_list()
    assert random.getstate() == state
    assert (np.random.get_state()[1] == numpy_state).all()


def test_grammar_splits_share_no_sentence_and_balance_their_classes():
    splits = load_splits(DatasetSource(builtin="grammar", rows=2000))
    train, validation = splits["train"], splits["validation"]
    assert (len(train), len(validation)) == (2000, 500)
    assert not set(train["text"]) & set(validation["text"])
    for column in ("label", "better"):
        assert 0.45 < np.mean(train[column][:]) < 0.55


def test_grammar_labels_follow_from_its_scores():
    rows = grammar(rows=200)["train"]
    for row in rows:
        assert row["label"] == int(row["score"] > 0)
    plain = [row for row in rows if "," not in row["text"] and row["text"].endswith("clever")]
    assert {row["label"] for row in plain} == {0, 1}
    for row in plain:
        assert row["label"] == int(not set(row["text"].split()) & {"not", "never", "hardly"})


def test_words_alone_do_not_solve_the_grammar():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    splits = grammar(rows=1000)
    counter = CountVectorizer().fit(splits["train"]["text"][:])
    train, validation = ((counter.transform(rows["text"][:]), rows["label"][:]) for rows in splits.values())
    accuracy = LogisticRegression(max_iter=500).fit(*train).score(*validation)
    assert 0.5 < accuracy < 0.8


@pytest.mark.parametrize("rows", [3, MOST_ROWS + 1])
def test_grammar_refuses_a_number_of_rows_it_cannot_make(rows):
    with pytest.raises(DataError, match=rf"rows: must be from 4 to {MOST_ROWS}, got {rows}"):
        grammar(rows=rows)


def test_a_saved_folder_is_read_with_its_splits_and_class_names(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["b", "a"])})
    data = datasets.Dataset.from_dict({"text": ["x", "y"], "label": [0, 1]}, features=features)
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "dict")
    data.save_to_disk(tmp_path / "one")
    assert list(load_splits(DatasetSource(path=str(tmp_path / "dict")))) == ["train", "test"]
    alone = load_splits(DatasetSource(path=str(tmp_path / "one")))
    assert list(alone) == ["train"]
    assert alone["train"].features["label"].names == ["b", "a"]


def test_a_damaged_saved_folder_is_refused_in_one_line(tmp_path):
    (tmp_path / "dataset_dict.json").write_text("{")
    with pytest.raises(DataError, match="not a readable save_to_disk folder") as caught:
        load_splits(DatasetSource(path=str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_missing_is_refused_without_asking_the_hub(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", None)
    with pytest.raises(DataError, match=r"no such folder: \./nowhere"):
        load_splits(DatasetSource(path="./nowhere"))


def test_what_the_hub_cannot_give_is_one_line_with_the_name(monkeypatch):
    def fail(path, **options):
        raise ConnectionError("no network\nand a second line")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match=r"cannot load user/set \(part\): ConnectionError: no network;") as caught:
        load_splits(DatasetSource(path="user/set", name="part"))
    assert "\n" not in str(caught.value)


def test_hub_data_sets_are_asked_for_by_name_revision_and_files(monkeypatch):
    asked = {}

    def remember(path, **options):
        asked.update(path=path, **options)
        return datasets.DatasetDict({"train": datasets.Dataset.from_dict({"a": [1]})})

    monkeypatch.setattr(datasets, "load_dataset", remember)
    load_splits(DatasetSource(path="user/set", name="part", revision="v1", data_files={"train": "a.csv"}))
    asked.pop("cache_dir")
    assert asked == {
        "path": "user/set",
        "name": "part",
        "revision": "v1",
        "data_files": {"train": ["a.csv"]},
    }
