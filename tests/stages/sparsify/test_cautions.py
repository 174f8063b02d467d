import logging

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from stages.sparsify import Sparsifier

ALL = {"types": ["Linear", "Embedding"], "exclude": []}
APART = {"types": ["Embedding"], "exclude": [], "criterion": "magnitude"}


@pytest.fixture
def warned(caplog):
    """A function from a model and settings to the warnings that building a pruner of them gives."""

    def build(model, **settings):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            Sparsifier(model, settings, num_steps=20)
        return [record.getMessage() for record in caplog.records]

    return build


@pytest.fixture
def lookup():
    return nn.ModuleDict({"users": nn.Embedding(8, 4), "films": nn.Embedding(8, 4), "mlp": nn.Linear(8, 4)})


def test_layers_the_pattern_does_not_divide_stay_dense_and_one_warning_names_them(caplog, make):
    model = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 10), nn.Linear(10, 8))
    with caplog.at_level(logging.WARNING):
        pruner = make(model, pattern="4x4")
    assert [record.getMessage() for record in caplog.records] == [
        "4x4 does not divide these layers, which stay dense: 1 (10 × 8), 2 (8 × 10)"
    ]
    assert list(pruner.masks()) == ["0.weight"]


@pytest.mark.parametrize("criterion", ["snip", "snip_momentum"])
def test_one_warning_names_the_embeddings_that_gradients_judge_and_the_way_out(warned, lookup, criterion):
    assert warned(lookup, criterion=criterion, layers=ALL) == [
        f"{criterion} drops rare rows of these embeddings whole, whatever they are worth, for a row has a gradient "
        "only in the steps that show it: users, films; give them a group of their own with criterion: magnitude"
    ]
    assert warned(lookup, criterion=criterion, layers=ALL, groups=[APART]) == []


def test_a_lock_that_finds_no_zeros_is_told(warned):
    model = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 8))
    (line,) = warned(model, pattern_lock=True)
    assert line.startswith("pattern_lock keeps the zeros that are there, and there are none in 0 and 1 more: nothing")
    with torch.no_grad():
        model[1].weight[0, 0] = 0
    assert warned(model, pattern_lock=True) == []


def test_weights_that_a_parametrization_computes_are_named(warned):
    model = nn.Sequential(nn.Linear(16, 8), nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)))
    (line,) = warned(model, sparsity=0.5)
    assert line.startswith(
        "the weights of these layers are computed from others by a parametrization, and stay dense: 1;"
    )


def test_an_embedding_of_a_group_is_named_alone(warned, lookup):
    groups = [{"include": ["films"], "types": ["Embedding"], "criterion": "snip"}]
    (line,) = warned(lookup, criterion="magnitude", layers=ALL, groups=groups)
    assert line.startswith("snip drops")
    assert ": films; give" in line


@pytest.mark.parametrize(
    "settings",
    [
        {"criterion": "magnitude", "layers": ALL},
        {"layers": {"exclude": []}},
        {"layers": ALL, "pattern_lock": True},
        {"layers": ALL, "sparsity": 0.0},
        {"layers": ALL, "enabled": False},
    ],
)
def test_where_no_embedding_is_judged_by_gradients_nobody_is_warned(warned, lookup, settings):
    assert [line for line in warned(lookup, **settings) if "rare rows" in line] == []


def test_an_embedding_that_is_the_output_layer_too_has_gradients_in_every_row(warned):
    model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=12, n_positions=8))
    (line,) = warned(model, layers=ALL)
    assert ": transformer.wpe; give" in line


@pytest.mark.parametrize(("criterion", "left"), [("magnitude", 4), ("snip_momentum", 0)])
def test_a_large_row_that_is_rare_goes_by_its_gradients_and_stays_by_its_size(criterion, left):
    torch.manual_seed(0)
    embedding = nn.Embedding(4, 4)
    with torch.no_grad():
        embedding.weight[0] += 10.0 * embedding.weight[0].sign()
    settings = {"criterion": criterion, "sparsity": 0.25, "max_sparsity_per_layer": 1.0, "layers": ALL}
    pruner = Sparsifier(embedding, settings, num_steps=150)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=1e-4)
    for step in range(150):
        embedding(torch.arange(0 if step == 0 else 1, 4)).square().sum().backward()
        pruner.before_optimizer_step(step)
        optimizer.step()
        pruner.after_optimizer_step(step, 1e-4)
        optimizer.zero_grad()
    assert int((embedding.weight[0] != 0).sum()) == left
