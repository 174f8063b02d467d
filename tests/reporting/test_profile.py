import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, ViTConfig, ViTForImageClassification

from pipeline.reporting import profile
from pipeline.reporting.profile import device_name, macs, parameters, profile_stage, size_bytes
from pipeline.surgery.condense import condense
from pipeline.surgery.keep_plan import KeepPlan, Kept

HIDDEN, HEADS, CHANNELS, LABELS = 16, 4, 24, 3
HEAD_DIM = HIDDEN // HEADS
QUICK = {"rounds": 1, "min_seconds": 0.0}


class FakeSplit:
    name = "validation"

    def __init__(self, lengths):
        self.lengths = torch.tensor(lengths).numpy()

    def __len__(self):
        return len(self.lengths)

    def batch(self, rows):
        longest = max(int(self.lengths[row]) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : self.lengths[row]] = 1 + row % 20
            mask[place, : self.lengths[row]] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.zeros(len(rows), dtype=torch.long)}


class FakeTask:
    def __init__(self, lengths=(5, 9, 3, 7, 11, 4)):
        self.validation = {"validation": FakeSplit(lengths), "heldout": FakeSplit((50,))}


def narrow(model, heads, channels):
    """Condense the model to the first so many heads and channels of each layer."""
    plan = {f"encoder.{layer}.heads": Kept(HEADS, tuple(range(kept))) for layer, kept in enumerate(heads)}
    plan |= {f"encoder.{layer}.channels": Kept(CHANNELS, tuple(range(kept))) for layer, kept in enumerate(channels)}
    return condense(model, KeepPlan(plan))


def analytic_macs(tokens, heads, channels):
    attention = sum(heads) * (4 * tokens * HIDDEN * HEAD_DIM + 2 * tokens**2 * HEAD_DIM)
    ffn = sum(channels) * 2 * tokens * HIDDEN
    return attention + ffn + HIDDEN * HIDDEN + HIDDEN * LABELS


@pytest.fixture(scope="module")
def bert():
    config = BertConfig(
        vocab_size=40,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=CHANNELS,
        max_position_embeddings=64,
        num_labels=LABELS,
    )
    return BertForSequenceClassification(config)


@pytest.mark.parametrize(
    ("heads", "channels"),
    [((4, 4), (24, 24)), ((1, 3), (24, 5)), ((0, 2), (24, 0)), ((0, 0), (0, 0))],
    ids=["dense", "uneven", "a layer without heads, one without channels", "nothing left"],
)
def test_macs_of_any_width_are_what_the_formula_says(bert, heads, channels):
    batch = FakeTask().validation["validation"].batch(range(5))
    assert macs(narrow(bert, heads, channels), batch) == analytic_macs(11, heads, channels)


def test_macs_count_images_with_their_patch_projection():
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=10,
    )
    tokens = 5
    layer = 4 * (4 * tokens * 16 * 4 + 2 * tokens**2 * 4) + 24 * 2 * tokens * 16
    patches = 4 * 16 * 16
    batch = {"pixel_values": torch.zeros(3, 1, 8, 8)}
    assert macs(ViTForImageClassification(config), batch) == 2 * layer + patches + 16 * 10


def test_counting_macs_leaves_attention_and_mode_as_they_were(bert):
    model = copy.deepcopy(bert).train()
    before = model.config._attn_implementation
    assert before != "eager"
    macs(model, FakeTask().validation["validation"].batch([0]))
    assert model.config._attn_implementation == before
    assert model.training


def test_a_shared_parameter_counts_once(bert):
    model = copy.deepcopy(bert)
    everything = parameters(model)
    first, second = model.bert.encoder.layer
    second.output.dense.weight = first.output.dense.weight
    assert parameters(model) == everything - first.output.dense.weight.numel()


def test_size_is_that_of_the_weight_files_alone(tmp_path):
    (tmp_path / "model-1.safetensors").write_bytes(b"x" * 30)
    (tmp_path / "model-2.safetensors").write_bytes(b"x" * 12)
    (tmp_path / "config.json").write_bytes(b"x" * 100)
    assert size_bytes(tmp_path) == 42


def test_the_first_model_is_its_own_reference_with_a_speedup_of_exactly_one(bert, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x" * 30)
    measured = profile_stage(bert, bert, FakeTask(), folder=tmp_path, **QUICK)
    assert measured["speedup_b1"] == measured["speedup_b32"] == 1.0
    assert measured["encoder_sparsity"] == 0.0
    assert measured["size_bytes"] == 30
    assert 0 < measured["size_gzip_bytes"] < 30
    assert measured["latency_b1_rounds"] == 1


def test_a_profile_says_what_was_removed_from_the_encoder_and_times_both_models(bert):
    model = narrow(bert, (1, 3), (24, 5))
    measured = profile_stage(model, bert, FakeTask(), **QUICK)
    removed_heads, removed_channels = 4, 19
    removed = removed_heads * (4 * HIDDEN * HEAD_DIM + 3 * HEAD_DIM) + removed_channels * (2 * HIDDEN + 1)
    per_layer = sum(parameter.numel() for parameter in bert.bert.encoder.layer[0].parameters())
    assert measured["encoder_parameters"] == 2 * per_layer - removed
    assert measured["encoder_sparsity"] == pytest.approx(removed / (2 * per_layer))
    assert measured["parameters"] == parameters(bert) - removed
    assert measured["macs"] == analytic_macs(11, (1, 3), (24, 5))
    keys = {f"{name}_b{size}{unit}" for size in (1, 8, 32) for name, unit in (("latency", "_ms"), ("speedup", ""))}
    assert all(measured[key] > 0 for key in keys)
    assert all(isinstance(value, int | float) for value in measured.values())


def test_a_model_in_half_precision_is_timed_in_float32_and_left_as_it_was(bert):
    half = copy.deepcopy(bert).to(torch.bfloat16)
    seen = []
    handle = bert.register_forward_hook(lambda module, *_: seen.append(module.dtype))
    half.register_forward_hook(lambda module, *_: seen.append(module.dtype))
    profile_stage(half, bert, FakeTask(), **QUICK)
    handle.remove()
    timed = seen[1:]
    assert set(timed) == {torch.float32}
    assert half.dtype == torch.bfloat16


class Elsewhere(nn.Module):
    """Notes what moves it and where it runs; stands for a model that another device could take."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.device, self.ran_on = torch.device("cpu"), []

    def to(self, device):
        self.device = torch.device(device)
        return self

    def forward(self, **batch):
        self.ran_on.append((self.device.type, {value.device.type for value in batch.values()}))


def test_both_models_are_timed_on_the_device_that_is_found_and_go_back(monkeypatch):
    monkeypatch.setattr(profile, "launched", lambda: SimpleNamespace(device=torch.device("meta")))
    monkeypatch.setattr(profile, "encoder_parameters", lambda model: 1)
    monkeypatch.setattr(profile, "macs", lambda model, batch: 1)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: None)
    model, reference = Elsewhere(), Elsewhere()
    profile_stage(model, reference, FakeTask(), **QUICK)
    assert device_name() == "meta"
    for timed in (model, reference):
        assert timed.ran_on
        assert all(ran == ("meta", {"meta"}) for ran in timed.ran_on)
        assert timed.device.type == "cpu"
