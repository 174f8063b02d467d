import json

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, ViTConfig, ViTForImageClassification, pipeline

from pipeline.data.sources import load_splits
from pipeline.errors import DataError
from pipeline.recipe.sources import DatasetSource, ModelSource, TaskSource
from pipeline.tasks import build_task
from pipeline.tasks.encoded_images import EncodedImages

SIZES = {
    "model_type": "vit",
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 3,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
}
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)


def task_of(dataset, *, processor_dir=None, model=None, sizes=(), **fields):
    source = TaskSource(type="image-classification", dataset=dataset, **fields)
    model = model or ModelSource(config={**SIZES, **dict(sizes)})
    return build_task(source, model=model, processor_dir=processor_dir, seed=0)


@pytest.fixture(scope="module")
def digits():
    return task_of(DatasetSource(builtin="digits"), train_rows=40, validation_rows=20)


def save(folder, images, feature=None):
    data = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 0, 1]})
    if feature is not None:
        data = data.cast_column("image", feature)
    datasets.DatasetDict({"train": data, "validation": data}).save_to_disk(folder)
    return DatasetSource(path=str(folder))


def expected(pixels=PIXELS):
    return torch.from_numpy(np.moveaxis(pixels, -1, 1) / np.float32(127.5) - 1).float()


@pytest.mark.parametrize("channels", [1, 3])
def test_digits_become_pixels_from_minus_one_to_one_at_the_models_size(channels):
    task = task_of(
        DatasetSource(builtin="digits"), sizes={"num_channels": channels, "image_size": [8, 8]}, train_rows=9
    )
    image = np.asarray(load_splits(DatasetSource(builtin="digits"))["train"][3]["image"])
    batch = task.train.batch([3, 0])
    assert batch["pixel_values"].shape == (2, channels, 8, 8)
    assert batch["pixel_values"].dtype == torch.float32
    for channel in range(channels):
        assert torch.allclose(batch["pixel_values"][0, channel], torch.from_numpy(image / 127.5 - 1).float(), atol=1e-6)
    assert task.train.lengths is None
    assert task.token_mask(batch) is None


def test_images_are_resized_to_the_models_size():
    task = task_of(DatasetSource(builtin="digits"), sizes={"image_size": [16, 12]}, train_rows=2)
    assert task.train.batch([1])["pixel_values"].shape == (1, 3, 16, 12)


@pytest.mark.parametrize("kind", ["images", "paths", "arrays", "channels first", "relative paths"])
def test_images_paths_and_arrays_give_the_same_pixels(tmp_path, kind):
    paths = [tmp_path / f"{row}.png" for row in range(4)]
    for path, pixels in zip(paths, PIXELS, strict=True):
        Image.fromarray(pixels).save(path)
    if kind == "relative paths":
        rows = [{"image": path.name, "label": row % 2} for row, path in enumerate(paths)]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        file = str(tmp_path / "rows.jsonl")
        source = DatasetSource(path="json", data_files={"train": file, "validation": file})
    else:
        columns = {
            "images": ([str(path) for path in paths], datasets.Image()),
            "paths": ([str(path) for path in paths], None),
            "arrays": (PIXELS.tolist(), None),
            "channels first": (np.moveaxis(PIXELS, -1, 1).tolist(), None),
        }
        source = save(tmp_path / "saved", *columns[kind])
    task = task_of(source)
    assert torch.allclose(task.train.batch(range(4))["pixel_values"], expected(), atol=1e-6)
    assert task.train.batch([1, 2])["labels"].tolist() == [1, 0]


def test_batches_made_again_each_time_equal_those_of_the_array(digits):
    task = task_of(DatasetSource(builtin="digits"), train_rows=40, select=0.25)
    for split in (digits.train, task.train, task.select):
        lazy = EncodedImages("lazy", split._encode, split._labels.numpy(), largest_array=0)
        rows = [5, 0, 5]
        assert lazy._pixels is None
        assert split._pixels is not None
        assert torch.equal(lazy.batch(rows)["pixel_values"], split.batch(rows)["pixel_values"])
    assert (len(task.train), len(task.select)) == (30, 10)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["absent.png"] * 4, "row 1, column 'image': no such image file: absent.png"),
        ([[[0.5]]] * 4, "pixels must be whole numbers from 0 to 255, got 0.5 to 0.5"),
        ([[[300]]] * 4, "whole numbers from 0 to 255, got 300 to 300"),
        ([[1, 2]] * 4, "must be an image, a path, or pixels of 2 or 3 axes"),
        ([[[1]], None, [[1]], [[1]]], "row 2, column 'image': the image is null"),
    ],
)
def test_what_is_no_image_is_refused_with_its_row(tmp_path, images, message):
    with pytest.raises(DataError) as caught:
        task_of(save(tmp_path, images)).train.batch(range(4))
    assert message in str(caught.value)


@pytest.mark.parametrize("missing", ["absent.png", None])
def test_a_missing_file_of_any_row_used_is_found_before_anything_is_read(tmp_path, missing):
    Image.fromarray(PIXELS[0]).save(tmp_path / "there.png")
    source = save(tmp_path / "saved", [str(tmp_path / "there.png")] * 3 + [missing])
    assert len(task_of(source, train_rows=3, validation_rows=3).train) == 3
    with pytest.raises(
        DataError, match=r"split 'validation', row 4, column 'image': (no such image file|the image is)"
    ):
        task_of(source, train_rows=3)


def test_a_damaged_image_is_refused_with_its_row(tmp_path):
    for row in range(4):
        Image.fromarray(PIXELS[row]).save(tmp_path / f"{row}.png")
    (tmp_path / "2.png").write_bytes(b"not a picture")
    paths = [str(tmp_path / f"{row}.png") for row in range(4)]
    with pytest.raises(DataError, match="split 'train', row 3, column 'image': cannot identify image file"):
        task_of(save(tmp_path / "saved", paths)).train.batch(range(4))


def test_a_missing_image_column_is_refused():
    with pytest.raises(DataError, match=r"task\.image: no column 'img' in split 'train'; it has image, label"):
        task_of(DatasetSource(builtin="digits"), image="img")


def model_of(task, **fields):
    return ViTForImageClassification(ViTConfig(**{**SIZES, **task.config_fields(), **fields}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_labels": 3}, "the data has 10 classes, but the model's head has 3 outputs"),
        ({"image_size": 16}, "makes 3×8×8 .* but the model takes 3×16×16"),
        ({"num_channels": 1}, "but the model takes 1×8×8"),
    ],
)
def test_a_model_that_cannot_take_the_images_is_refused(digits, fields, message):
    if "num_labels" in fields:
        fields = {**fields, "id2label": None, "label2id": None}
    with pytest.raises(DataError, match=message):
        digits.check_model(model_of(digits, **fields))
    digits.check_model(model_of(digits))


def test_the_saved_processor_works_in_a_pipeline_and_gives_the_tasks_pixels(tmp_path, digits):
    model = model_of(digits).eval()
    model.save_pretrained(tmp_path)
    digits.save_processor(tmp_path)
    image = load_splits(DatasetSource(builtin="digits"))["train"][0]["image"]
    answer = pipeline("image-classification", model=str(tmp_path))(image)
    with torch.no_grad():
        scores = model(pixel_values=digits.train.batch([0])["pixel_values"]).logits.softmax(-1)[0]
    best = int(scores.argmax())
    assert answer[0]["label"] == str(best)
    assert answer[0]["score"] == pytest.approx(float(scores[best]), abs=1e-6)


def test_the_saved_processor_loads_whatever_the_model_type_and_travels_unchanged(tmp_path, digits):
    (tmp_path / "again").mkdir()
    digits.save_processor(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "condensed-vit"}')
    processor = AutoImageProcessor.from_pretrained(str(tmp_path))
    image = load_splits(DatasetSource(builtin="digits"))["train"][0]["image"]
    pixels = processor(images=[image], return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels, digits.train.batch([0])["pixel_values"])
    later = task_of(DatasetSource(builtin="digits"), processor_dir=tmp_path, sizes={"image_size": 99})
    later.save_processor(tmp_path / "again")
    file = "preprocessor_config.json"
    assert (tmp_path / "again" / file).read_bytes() == (tmp_path / file).read_bytes()
    assert later.train.pixel_shape == (3, 8, 8)


def test_a_processor_that_leaves_its_class_to_the_model_type_gets_it_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    settings = {"size": {"height": 8, "width": 8}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    task = task_of(DatasetSource(builtin="digits"), model=ModelSource(pretrained=str(tmp_path)), train_rows=2)
    task.save_processor(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved == {**settings, "image_processor_type": "ViTImageProcessor"}


def test_a_folder_without_a_processor_is_refused_by_name(tmp_path):
    with pytest.raises(
        DataError, match=r"has no tokenizer or image processor .* needs one of preprocessor_config\.json"
    ):
        task_of(DatasetSource(builtin="digits"), model=ModelSource(pretrained=str(tmp_path)))


def test_grey_models_are_warned_of_because_pipelines_feed_colour(caplog):
    task_of(DatasetSource(builtin="digits"), sizes={"num_channels": 1}, train_rows=2)
    assert "num_channels: 3 makes a model that it can" in caplog.text


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"num_channels": 2}, r"num_channels: must be 1 \(grey\) or 3 \(colour\), got 2"),
        ({"image_size": "big"}, "image_size: must be a positive integer or two of them, got 'big'"),
        ({"image_size": 0}, "image_size: must be a positive integer or two of them, got 0"),
    ],
)
def test_a_config_no_processor_can_be_made_for_is_refused(sizes, message):
    with pytest.raises(DataError, match=message):
        task_of(DatasetSource(builtin="digits"), sizes=sizes)


@pytest.mark.parametrize(("mean", "is_told"), [(0.5, False), (0.2, True)])
def test_a_teacher_whose_images_were_prepared_otherwise_is_named(tmp_path, digits, caplog, mean, is_told):
    model = model_of(digits)
    model.save_pretrained(tmp_path)
    digits.check_teacher(model, ModelSource(pretrained=str(tmp_path)))
    digits.save_processor(tmp_path)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**settings, "image_mean": [mean] * 3}))
    digits.check_teacher(model, ModelSource(pretrained=str(tmp_path)))
    assert ("was trained on images prepared otherwise" in caplog.text) == is_told
