import json

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from pipeline.data.image_files import find_image, named_images
from pipeline.recipe.sources import DatasetSource

NAMES = ["a.png", "sub/b.png", "a.png", "gone.png"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of two images below another one, which is the current folder."""
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for name in NAMES[:2]:
        (tmp_path / "data" / name).write_bytes(b"pixels")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def write_csv(path):
    path.write_text("image,label\n" + "".join(f"{name},0\n" for name in NAMES))


def write_tsv(path):
    path.write_text("image\tlabel\n" + "".join(f"{name}\t0\n" for name in NAMES))


def write_json(path):
    path.write_text("".join(json.dumps({"image": name, "label": 0}) + "\n" for name in NAMES))


def write_parquet(path):
    parquet.write_table(pyarrow.table({"image": NAMES, "label": [0] * 4}), path)


@pytest.mark.parametrize(
    ("kind", "write"), [("csv", write_csv), ("tsv", write_tsv), ("json", write_json), ("parquet", write_parquet)]
)
def test_each_name_in_the_column_is_looked_for_beside_its_file(folder, kind, write):
    write(folder / "rows")
    source = DatasetSource(path=kind, data_files={"train": ["data/rows"], "validation": "data/rows"})
    expected = {name: folder / name if name != "gone.png" else None for name in NAMES}
    assert {name: path and path.absolute() for name, path in named_images(source, "image").items()} == expected
    assert named_images(source, "other") == {}


def test_names_in_a_saved_folder_are_found_from_the_current_folder(folder):
    data = datasets.Dataset.from_dict({"image": ["data/a.png"], "label": [0]})
    datasets.DatasetDict({"train": data}).save_to_disk("saved")
    found = named_images(DatasetSource(path="saved"), "image")
    assert {name: path.absolute() for name, path in found.items()} == {"data/a.png": folder / "a.png"}
    assert named_images(DatasetSource(path="saved"), "label") == {}


def test_a_builtin_data_set_names_no_files():
    assert named_images(DatasetSource(builtin="digits"), "image") == {}


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", ""])
def test_text_that_cannot_be_a_path_is_no_file(folder, name):
    assert find_image(name, [folder]) is None
