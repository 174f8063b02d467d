import pytest
import torch

from pipeline import MovementPruner, TaylorPruner, condense
from pipeline.surgery.groups import dissect
from stages.prune_ffn import PruneFfnConfig
from stages.prune_heads import PruneHeadsConfig

HEADS = {"granularity": "head", "sparsity": 0.5, "prune_begin": 0, "prune_end": 4}
CHANNELS = {"sparsity": 0.25, "scope": "local", "rounds": 2, "prune_begin": 0.0, "prune_end": 0.8}


def train(model, pruner, num_steps=5, *, first=0, finish=True):
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-2)
    ids = torch.randint(2, 40, (num_steps, 4, 6), generator=torch.Generator().manual_seed(0))
    for step in range(first, num_steps):
        torch.manual_seed(step)
        model(input_ids=ids[step], labels=ids[step, :, 0] % 2).loss.backward()
        pruner.before_optimizer_step(step)
        optimizer.step()
        pruner.after_optimizer_step(step, 1e-2)
        optimizer.zero_grad()
    return pruner.finish() if finish else None


@pytest.mark.parametrize(
    ("kind", "config", "units", "left"),
    [
        (MovementPruner, HEADS, "heads", 4),
        (MovementPruner, PruneHeadsConfig(**HEADS), "heads", 4),
        (TaylorPruner, CHANNELS, "channels", 36),
        (TaylorPruner, PruneFfnConfig(**CHANNELS), "channels", 36),
    ],
)
def test_a_pruner_is_built_from_a_model_a_config_and_the_number_of_steps(small_bert, kind, config, units, left):
    model = small_bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    pruner = kind(model, config, num_steps=5)
    plan = train(model, pruner)
    smaller = condense(model.eval(), plan)
    assert sum(group.num_units for group in dissect(smaller) if group.kind == units) == left
    ids = torch.arange(2, 10)[None]
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, smaller.eval()(ids).logits, atol=1e-5)
    assert pruner.logs()
    assert pruner.tensors()


@pytest.mark.parametrize(
    ("kind", "config", "told"),
    [
        (MovementPruner, {"sparsity": 1.5}, "sparsity: Input should be less than 1, got 1.5"),
        (MovementPruner, {"sparsty": 0.5}, "sparsty: Extra inputs are not permitted, got 0.5"),
        (TaylorPruner, {"prune_end": 9}, "prune_end: must be within the stage's 5 steps, got 9; train for longer"),
        (TaylorPruner, {"sparsity": (0.5,)}, "sparsity: must hold one share for each of 2 layers, got 1"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_in_one_line(small_bert, kind, config, told):
    with pytest.raises(ValueError) as caught:
        kind(small_bert(), config, num_steps=5)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("kind", "config", "frozen"),
    [
        (MovementPruner, HEADS, "layer.1.attention.output"),
        (MovementPruner, {**HEADS, "granularity": "block"}, "layer.0.attention.self.query"),
        (MovementPruner, {**HEADS, "criterion": "taylor"}, "layer.0.attention.output"),
        (TaylorPruner, CHANNELS, "layer.1.output"),
        (TaylorPruner, {**CHANNELS, "form": "nni"}, "layer.0.intermediate"),
    ],
)
def test_units_are_not_judged_by_weights_that_do_not_learn(small_bert, kind, config, frozen):
    name = f"bert.encoder.{frozen}.dense.weight".replace("query.dense", "query")
    with pytest.raises(ValueError, match=r"^freeze: must leave the weights learning") as caught:
        kind(small_bert(), {**config, "freeze": [frozen]}, num_steps=5)
    assert f"such as {name}, got ['{frozen}']; freeze others, or judge by weight" in str(caught.value)
    model = small_bert()
    model.get_parameter(name).requires_grad_(False)
    with pytest.raises(ValueError, match=rf"^model: must leave .* such as {name}, which needs no gradient"):
        kind(model, config, num_steps=5)


@pytest.mark.parametrize(("kind", "config"), [(MovementPruner, HEADS), (TaylorPruner, CHANNELS)])
def test_a_model_in_a_wrapper_is_pruned_like_the_bare_one(small_bert, kind, config):
    wrapped, plain = torch.nn.DataParallel(small_bert()), small_bert()
    plans = [train(model, kind(model, config, num_steps=5)) for model in (wrapped, plain)]
    assert plans[0] == plans[1]
    assert all(torch.equal(a, b) for a, b in zip(wrapped.parameters(), plain.parameters(), strict=True))


def test_scores_go_on_where_the_model_takes_another_type(small_bert):
    settings = {**HEADS, "granularity": "block", "block_size": 4}
    model = small_bert()
    pruner = MovementPruner(model, settings, num_steps=5)
    train(model, pruner, 3, finish=False)
    assert train(model.double(), pruner, 5, first=3) is not None


def test_a_model_that_cannot_be_condensed_is_named_before_it_is_trained(small_bert, caplog):
    model = small_bert()
    model.classifier = torch.nn.Sequential(model.classifier)
    TaylorPruner(model, CHANNELS, num_steps=5)
    told = "what is pruned can be masked, but not condensed: BertForSequenceClassification has a module classifier.0"
    assert told in caplog.text
    caplog.clear()
    TaylorPruner(small_bert(), CHANNELS, num_steps=5)
    assert not caplog.text


def test_what_judges_no_unit_may_be_frozen(small_bert):
    kinds = ((MovementPruner, {**HEADS, "freeze": ["query", "embeddings"]}), (TaylorPruner, {"criterion": "l1"}))
    for kind, config in kinds:
        pruner = kind(small_bert(), {"freeze": ["layer.0"], **config}, num_steps=5)
        assert pruner.config.freeze
