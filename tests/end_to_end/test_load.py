"""What a person without pruneline sees: one process loads the condensed folders of every family."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

from pipeline.models import load_model, save_model
from pipeline.surgery.condense import condense
from pipeline.surgery.keep_plan import KeepPlan, Kept

PLAN = KeepPlan(
    {
        "encoder.0.heads": Kept(4, ()),
        "encoder.0.channels": Kept(24, (0, 9, 23)),
        "encoder.1.heads": Kept(4, (1, 2)),
        "encoder.1.channels": Kept(24, ()),
    }
)
FAMILIES = ["bert", "roberta", "electra", "distilbert", "vit", "deit"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film"]

STRANGER = r"""
import importlib.abc, json, sys, warnings
from pathlib import Path

class WithoutPruneline(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pipeline", "stages"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, WithoutPruneline())

import torch, transformers
from PIL import Image
from safetensors.torch import load_file

def check(folder):
    expected = load_file(folder / "expected.safetensors")
    logits = expected.pop("logits")
    vision = "pixel_values" in expected
    auto = transformers.AutoModelForImageClassification if vision else transformers.AutoModelForSequenceClassification
    model = auto.from_pretrained(folder / "model", trust_remote_code=True)
    with torch.no_grad():
        assert torch.allclose(model(**expected).logits, logits, rtol=0, atol=1e-6)
        states = model(**expected, output_hidden_states=True).hidden_states
    assert len(states) == 3
    model.save_pretrained(folder / "again")
    body = transformers.AutoModel.from_pretrained(folder / "model", trust_remote_code=True)
    with torch.no_grad():
        assert len(body(**expected, output_hidden_states=True).hidden_states) == 3
    if vision:
        processor = transformers.AutoImageProcessor.from_pretrained(folder / "model", trust_remote_code=True)
        assert processor(Image.new("RGB", (9, 9)), return_tensors="pt")["pixel_values"].shape == (1, 3, 8, 8)
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model", trust_remote_code=True)
        kind = type(tokenizer).__name__
        assert tokenizer("a good film")["input_ids"] == [2, 5, 6, 8, 3], kind
    task, example = ("image-classification", Image.new("RGB", (8, 8))) if vision else ("text-classification", "good")
    answer = transformers.pipeline(task, model=str(folder / "model"), trust_remote_code=True, device="cpu")(example)
    assert answer[0]["label"] in ("class 0", "class 1", "class 2"), answer
    return type(model).__name__

found = {name: check(Path(name)) for name in sys.argv[1:]}
try:
    transformers.AutoModelForSequenceClassification.from_pretrained(Path(sys.argv[1]) / "model")
except ValueError as error:
    assert "trust_remote_code=True" in str(error), error
else:
    raise AssertionError("custom code ran without being asked for")
assert not any(name.split(".")[0] in ("pipeline", "stages") for name in sys.modules)
print("\n" + json.dumps(found))
"""


def save_processor(model_type, folder):
    """Write what a task would write; the text folders of BERT lack ``tokenizer_class``, as some on the hub do."""
    if model_type in ("vit", "deit"):
        size = {"height": 8, "width": 8}
        transformers.ViTImageProcessorPil(size=size).save_pretrained(folder)
        return
    tokenizer = transformers.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})
    tokenizer.save_pretrained(folder)
    if model_type == "bert":
        path = folder / "tokenizer_config.json"
        settings = json.loads(path.read_text())
        del settings["tokenizer_class"]
        path.write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("condensed")


@pytest.fixture
def published(folders, tiny_model, tiny_batch):
    """A condensed model of every family as a stage would leave it, with inputs and the logits they gave."""
    models = {}
    labels = {number: f"class {number}" for number in range(3)}
    for model_type in FAMILIES:
        model = condense(tiny_model(model_type, id2label=labels), PLAN)
        save_model(model, folders / model_type / "model")
        save_processor(model_type, folders / model_type / "model")
        batch = tiny_batch(model_type)
        with torch.no_grad():
            expected = {**batch, "logits": model(**batch).logits}
        save_file(expected, folders / model_type / "expected.safetensors")
        models[model_type] = model
    return models


def test_condensed_folders_load_where_pruneline_is_not_installed(published, folders, tmp_path):
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    (folders / "stranger.py").write_text(STRANGER)
    done = subprocess.run(
        [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "stranger.py", *FAMILIES],
        cwd=folders,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {name: type(model).__name__ for name, model in published.items()}
    for model_type, model in published.items():
        assert_saved_alike(folders / model_type / "model", folders / model_type / "again")
        loaded = load_model(folders / model_type / "again", auto_model(model_type))
        assert all(torch.equal(loaded.state_dict()[name], each) for name, each in model.state_dict().items())


def auto_model(model_type):
    image = model_type in ("vit", "deit")
    return "AutoModelForImageClassification" if image else "AutoModelForSequenceClassification"


def assert_saved_alike(first: Path, second: Path) -> None:
    """Weights, config and code of the two folders are the same bytes."""
    names = sorted(path.name for path in second.iterdir())
    assert {"config.json", "model.safetensors", "narrow.py"} <= set(names)
    assert len(names) == 4
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
