import pytest
import torch

import stages.pruning as pruning
from stages.prune_ffn import PruneFfn, PruneFfnConfig
from stages.prune_heads import PruneHeads, PruneHeadsConfig

QUICK = {"steps": 8, "batch_size": 8, "learning_rate": 1e-3, "mixed_precision": "no", "progress": False}
OFTEN = {"save_seconds": 0, "save_share": 1.0}
REPAIR = {"repair": {"rows": 16}}
CASES = [
    (PruneFfn, PruneFfnConfig, {"sparsity": 0.5, "rounds": 3, "distill": None}, 24),
    (PruneHeads, PruneHeadsConfig, {"sparsity": 0.5, "criterion": "l1"}, 4),
    (PruneHeads, PruneHeadsConfig, {"sparsity": 0.5, "block_size": 2}, 4),
]


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("stage", "config", "settings", "left"), CASES)
def test_a_repaired_stage_cuts_as_much_and_computes_something_else(
    make_context, small_bert, stage, config, settings, left
):
    outputs = []
    for name, repair in (("repaired", REPAIR), ("plain", {})):
        context = make_context(config(**QUICK, **settings, **repair), model=small_bert(), name=name)
        result = stage().run(context)
        assert sum(len(kept.units) for kept in result.keep_plan.values()) == left
        with torch.no_grad():
            outputs.append(result.model(**context.task.train.batch(range(8))).logits)
    assert (outputs[0] - outputs[1]).abs().max() > 1e-6


@pytest.mark.parametrize(("stage", "config", "settings", "left"), CASES)
def test_a_killed_stage_with_repair_resumes_to_the_same_bits(
    make_context, small_bert, monkeypatch, stage, config, settings, left
):
    made = config(**QUICK, **OFTEN, **settings, **REPAIR)
    whole = stage().run(make_context(made, model=small_bert(), name="whole"))
    train = pruning.train

    def dies(model, *, pruner, **fields):
        step = pruner.after_optimizer_step

        def after(number, lr):
            step(number, lr)
            if number == 4:
                raise Killed

        pruner.after_optimizer_step = after
        return train(model, pruner=pruner, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(pruning, "train", dies)
        with pytest.raises(Killed):
            stage().run(make_context(made, model=small_bert(), name="killed"))
    again = make_context(made, model=small_bert(), name="killed")
    assert list(again.work_dir.rglob("save-*"))
    resumed = stage().run(again)
    assert resumed.keep_plan == whole.keep_plan
    assert all(torch.equal(value, resumed.model.state_dict()[name]) for name, value in whole.model.state_dict().items())


def test_repair_without_effect_is_named():
    assert PruneHeadsConfig(sparsity=0.5, granularity="head", **REPAIR).ignored() == ("repair",)
    assert PruneHeadsConfig(sparsity=0.5, **REPAIR).ignored() == ()
    assert PruneHeadsConfig(sparsity=0.5, criterion="l1", granularity="head", **REPAIR).ignored() == ()
    assert PruneFfnConfig(**REPAIR).ignored() == ()


@pytest.mark.parametrize("config", [PruneHeadsConfig, PruneFfnConfig])
def test_repair_is_off_by_default_and_reads_back_equal(config):
    assert config().repair is None
    made = config(**REPAIR)
    assert (made.repair.rows, made.repair.ridge) == (16, 1e-3)
    assert config(**made.model_dump(mode="json")) == made
