import json
import logging

import pytest
import torch

from pipeline.errors import RecipeError
from pipeline.models import load_model, save_model
from pipeline.surgery.condense import condense
from pipeline.surgery.keep_plan import KeepPlan, Kept
from stages.sparsify import Sparsifier, Sparsify, SparsifyConfig, sparsifying

QUICK = {"steps": 12, "batch_size": 8, "learning_rate": 1e-2, "mixed_precision": "no", "progress": False}
SPARSE = {"sparsity": 0.75, "pattern": "4x1", "schedule": {"end": 0.8, "every": 3}}
NUM_TOUCHED = 2 * (4 * 16 * 16 + 2 * 16 * 24)


def weights(result):
    layers = result.details["layers"]
    return {name: parameter for name, parameter in result.model.named_parameters() if name[:-7] in layers}


def test_a_sparse_model_has_its_zeros_and_says_so(make_context, small_bert):
    result = Sparsify().run(make_context(SparsifyConfig(**QUICK, **SPARSE, distill={}), teacher=small_bert(seed=1)))
    assert result.keep_plan is None
    found = weights(result)
    assert len(found) == 12
    assert (result.details["prune_begin_step"], result.details["prune_end_step"]) == (0, 10)
    asked = dict(result.details["schedule"])
    assert list(asked) == list(range(13))
    assert [asked[step] for step in (0, 5, 10, 12)] == pytest.approx([0.0, 0.75 * (1 - 0.5**3), 0.75, 0.75])
    zeros = sum(int((weight == 0).sum()) for weight in found.values())
    assert zeros == round(0.75 * NUM_TOUCHED)
    metrics = result.metrics
    assert metrics["weights_touched"] == NUM_TOUCHED
    assert metrics["weight_sparsity"] == 0.75
    assert metrics["matmul_sparsity"] == zeros / (NUM_TOUCHED + 16 * 16 + 2 * 16)  # the pooler and the classifier
    assert (metrics["blocks"], metrics["blocks_removed"]) == (NUM_TOUCHED / 4, zeros / 4)
    assert metrics["gzip_ratio"] == metrics["gzip_dense_bytes"] / metrics["gzip_bytes"] > 1.3


def test_every_layer_is_told_of_and_the_masks_are_kept(make_context):
    result = Sparsify().run(make_context(SparsifyConfig(**QUICK, **SPARSE)))
    layers = json.loads(json.dumps(result.details["layers"]))
    for name, parameter in weights(result).items():
        told = layers[name.removesuffix(".weight")]
        zeros = int((parameter == 0).sum())
        assert told == {
            "type": "Linear",
            "parameter": name,
            "shape": list(parameter.shape),
            "pattern": "4x1",
            "weights": parameter.numel(),
            "zeros": zeros,
            "sparsity": zeros / parameter.numel(),
            "blocks": parameter.numel() // 4,
            "blocks_removed": zeros // 4,
        }
        kept = result.tensors[f"kept.{name}"]
        assert torch.equal(kept.repeat_interleave(4, dim=0), parameter != 0)


def test_the_learning_rate_follows_its_own_schedule(make_context):
    config = SparsifyConfig(**QUICK, **SPARSE, lr_schedule="constant", log_every=1)
    context = make_context(config)
    Sparsify().run(context)
    lines = [json.loads(line) for line in context.log.path.read_text().splitlines()]
    assert {line["lr"] for line in lines if "lr" in line} == {1e-2}
    shares = [line["weights_removed"] for line in lines if "weights_removed" in line]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (pytest.approx(0.75 * (1 - (1 - 1 / 10) ** 3), abs=1e-3), 0.75)


def test_a_later_stage_with_a_lock_trains_on_and_keeps_the_zeros(make_context):
    sparse = Sparsify().run(make_context(SparsifyConfig(**QUICK, **SPARSE)))
    before = {name: parameter.detach().clone() for name, parameter in weights(sparse).items()}
    config = SparsifyConfig(**QUICK, pattern_lock=True)
    after = Sparsify().run(make_context(config, model=sparse.model, name="recover"))
    assert after.metrics["weight_sparsity"] == 0.75
    assert not {"prune_begin_step", "schedule"} & after.details.keys()
    for name, parameter in weights(after).items():
        assert torch.equal(parameter == 0, before[name] == 0)
        assert not torch.equal(parameter, before[name])
        assert after.details["layers"][name.removesuffix(".weight")]["pattern"] == "locked"


def test_zeros_survive_saving_and_loading_and_a_lock_finds_the_same_masks(make_context, tmp_path):
    groups = [{"include": ["query"], "pattern": "2:4", "sparsity": 0.5}]
    result = Sparsify().run(make_context(SparsifyConfig(**QUICK, **SPARSE, groups=groups)))
    save_model(result.model, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    masks = Sparsifier(loaded, {"pattern_lock": True}, num_steps=1).masks()
    found = weights(result)
    assert masks.keys() == found.keys()
    assert all(torch.equal(masks[name], weight != 0) for name, weight in found.items())


PLAN = KeepPlan(
    {"encoder.0.heads": Kept(4, (1, 2)), "encoder.1.heads": Kept(4, ()), "encoder.0.channels": Kept(24, ())}
)


def test_a_condensed_model_is_sparsified_and_a_sparse_one_condensed(make_context, small_bert):
    config = SparsifyConfig(**QUICK, **SPARSE)
    narrow = Sparsify().run(make_context(config, model=condense(small_bert(), PLAN), name="after"))
    shapes = {name: layer["shape"] for name, layer in narrow.details["layers"].items()}
    assert shapes["bert.encoder.layer.0.attention.self.query"] == [8, 16]
    assert len(shapes) == 12 - 6
    assert sum(int((weight == 0).sum()) for weight in weights(narrow).values()) == round(
        0.75 * narrow.metrics["weights_touched"]
    )
    sparse = Sparsify().run(make_context(config, name="before"))
    before, after = (dict(model.named_parameters()) for model in (sparse.model, condense(sparse.model, PLAN)))
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(after[name], before[name][4:12])
    assert (after[name] == 0).any()


def test_disabled_trains_dense_and_touches_nothing(make_context):
    result = Sparsify().run(make_context(SparsifyConfig(**QUICK, **SPARSE, enabled=False)))
    assert result.details["layers"] == {}
    assert result.metrics["weight_sparsity"] == result.metrics["blocks"] == 0
    assert result.metrics["matmul_sparsity"] == 0


def test_settings_that_do_not_fit_are_refused_before_training_and_those_without_effect_told(make_context, caplog):
    context = make_context(SparsifyConfig(**QUICK, sparsity=0.5, pattern="5x1"))
    with pytest.raises(RecipeError, match=r"stages\.tiny\.pattern: must divide at least one layer, but 5x1"):
        Sparsify().run(context)
    assert not context.work_dir.exists()
    with caplog.at_level(logging.WARNING):
        Sparsify().run(make_context(SparsifyConfig(**QUICK, pattern_lock=True, sparsity=0.9), name="locked"))
    assert "stages.locked.sparsity: 0.9 has no effect" in caplog.text


class Killed(BaseException):
    pass


@pytest.mark.parametrize("criterion", ["magnitude", "snip_momentum"])
@pytest.mark.parametrize("kill_at", [4, "after training"])
def test_a_killed_stage_resumes_to_the_same_weights_masks_and_numbers(
    make_context, small_bert, monkeypatch, dying, criterion, kill_at
):
    groups = [{"include": ["query"], "pattern": "2:4", "sparsity": 0.5}]
    saved = {"save_seconds": 0, "save_share": 1.0}
    config = SparsifyConfig(**QUICK, **SPARSE, **saved, criterion=criterion, groups=groups, group_lasso=0.1)
    whole = Sparsify().run(make_context(config, model=small_bert(), name="whole"))
    train = dying(sparsifying.train, Killed, kill_at)

    def dies(model, **fields):
        train(model, **fields)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sparsifying, "train", dies)
        with pytest.raises(Killed):
            Sparsify().run(make_context(config, model=small_bert(), name="killed"))
    context = make_context(config, model=small_bert(), name="killed")
    assert list(context.work_dir.rglob("*"))
    again = Sparsify().run(context)
    assert again.details["layers"] == whole.details["layers"]
    assert all(torch.equal(again.tensors[name], value) for name, value in whole.tensors.items())
    assert all(torch.equal(value, again.model.state_dict()[name]) for name, value in whole.model.state_dict().items())
