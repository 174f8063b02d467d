import json

import pytest
import torch
from transformers import AutoTokenizer

from pipeline.data.generated import grammar
from pipeline.data.tokenization import tokenizer_files, train_wordpiece
from pipeline.errors import DataError
from pipeline.recipe.sources import DatasetSource, ModelSource, TaskSource
from pipeline.tasks import build_task
from pipeline.tasks.tokenizers import load_tokenizer

TEXTS = grammar(rows=40)["train"]["text"][:]
PAIR = ("the plot was dull", "never clumsy")
FAMILIES = {"bert": True, "electra": True, "roberta": False, "distilbert": False}


def unread():
    raise AssertionError("no tokenizer should be trained")


def scratch(family="bert", **fields):
    return ModelSource(config={"model_type": family, "vocab_size": 120, "max_position_embeddings": 64, **fields})


def task_of(model, processor_dir=None):
    dataset = DatasetSource(builtin="grammar", rows=40)
    source = TaskSource(type="text-classification", dataset=dataset, text="text", max_length=48)
    return build_task(source, model=model, processor_dir=processor_dir, seed=0)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def checkpoint(tmp_path):
    """A folder as other tools leave it: the tokenizer's class is not named, and one file has odd spacing."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    files = tokenizer_files(train_wordpiece(TEXTS, 120), model_max_length=64, token_types=True)
    files["tokenizer_config.json"] = b'{"do_lower_case":   true, "model_max_length": 64}'
    files["special_tokens_map.json"] = b'{ "pad_token": "[PAD]" }'
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_tokenizer_reads_back_from_its_files_whatever_the_model_type(tmp_path, family):
    loaded = load_tokenizer(scratch(family), None, lambda: TEXTS)
    task = task_of(scratch(family))
    task.save_processor(tmp_path)
    for model_type in (family, f"condensed-{family}"):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        tokenizer = AutoTokenizer.from_pretrained(str(tmp_path), trust_remote_code=False)
        assert dict(tokenizer(*PAIR)) == dict(loaded.tokenizer(*PAIR))
        assert ("token_type_ids" in tokenizer(*PAIR)) == FAMILIES[family]
        assert tokenizer.model_max_length == (63 if family == "roberta" else 64)
        assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("[PAD]", 0)


def test_a_model_from_a_config_is_told_its_vocabulary_and_padding(tmp_path):
    task = task_of(scratch())
    fields = task.config_fields()
    assert (fields["vocab_size"], fields["pad_token_id"]) == (len(task.tokenizer), 0)
    assert fields["vocab_size"] <= 120
    task.save_processor(tmp_path)
    assert task_of(scratch(), processor_dir=tmp_path).config_fields() == fields


def test_a_pretrained_model_keeps_its_own_vocabulary(checkpoint):
    assert "vocab_size" not in task_of(ModelSource(pretrained=str(checkpoint))).config_fields()


def test_a_later_stage_encodes_with_the_artifacts_tokenizer_and_hands_its_bytes_on(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    task = task_of(scratch())
    task.save_processor(first)
    # Another config would train another tokenizer: the artifact's must be read instead.
    later = task_of(scratch(vocab_size=60), processor_dir=first)
    later.save_processor(second)
    assert contents(first) == contents(second)
    rows = range(4)
    assert torch.equal(task.train.batch(rows)["input_ids"], later.train.batch(rows)["input_ids"])


def test_files_of_a_checkpoint_travel_unchanged_but_for_the_class_it_left_out(tmp_path, checkpoint):
    saved = tmp_path / "saved"
    saved.mkdir()
    loaded = load_tokenizer(ModelSource(pretrained=str(checkpoint)), None, unread)
    task_of(ModelSource(pretrained=str(checkpoint))).save_processor(saved)
    before, after = contents(checkpoint), contents(saved)
    assert set(after) == set(before) - {"config.json"}
    assert {name for name in after if after[name] != before[name]} == {"tokenizer_config.json"}
    config = json.loads(after["tokenizer_config.json"])
    assert config == {"do_lower_case": True, "model_max_length": 64, "tokenizer_class": "BertTokenizer"}
    (saved / "config.json").write_text('{"model_type": "condensed-bert"}')
    tokenizer = AutoTokenizer.from_pretrained(str(saved), trust_remote_code=False)
    assert dict(tokenizer(*PAIR)) == dict(loaded.tokenizer(*PAIR))
    again = tmp_path / "again"
    again.mkdir()
    task_of(ModelSource(pretrained=str(checkpoint)), processor_dir=saved).save_processor(again)
    assert contents(again) == {name: content for name, content in contents(saved).items() if name != "config.json"}


def test_files_of_the_hub_are_taken_from_its_cache(tmp_path, checkpoint, monkeypatch):
    import huggingface_hub.constants

    commit = "a" * 40
    repository = tmp_path / "models--user--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    checkpoint.rename(repository / "snapshots" / commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    loaded = load_tokenizer(ModelSource(pretrained="user/tiny"), None, unread)
    assert set(loaded.files) == {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}
    assert len(loaded.tokenizer) == 120


def test_a_folder_without_a_tokenizer_is_refused_by_name(tmp_path, checkpoint):
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"checkpoint has no tokenizer .* needs one of .*tokenizer\.json"):
        load_tokenizer(ModelSource(pretrained=str(checkpoint)), None, unread)
    with pytest.raises(DataError, match=r"no such folder: .*nowhere"):
        load_tokenizer(scratch(), tmp_path / "nowhere", unread)


def test_a_broken_tokenizer_is_refused_in_one_line(checkpoint):
    (checkpoint / "tokenizer.json").write_text("{\n\n")
    with pytest.raises(DataError, match=r"cannot load a tokenizer from .*checkpoint") as caught:
        load_tokenizer(ModelSource(pretrained=str(checkpoint)), None, unread)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("vocab_size", [6, "many", 10.5])
def test_a_vocabulary_size_that_cannot_be_is_refused(vocab_size):
    with pytest.raises(DataError, match=f"vocab_size: must be an integer of at least 7, got {vocab_size!r}"):
        load_tokenizer(scratch(vocab_size=vocab_size), None, lambda: TEXTS)
