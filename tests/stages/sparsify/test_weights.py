import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from stages.sparsify.weights import chosen, matmul_weights, matrix_weights


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.norm = nn.LayerNorm(8)
        self.lstm = nn.LSTM(8, 6, num_layers=2, bidirectional=True, proj_size=4)
        self.gru = nn.GRU(8, 6)
        self.attention = nn.MultiheadAttention(8, 2)
        self.conv = nn.Conv2d(3, 8, 3)
        self.wave = nn.Conv1d(3, 8, 3)
        self.nothing = nn.Linear(4, 4)
        self.nothing.weight = nn.Parameter(torch.empty(0, 4))
        self.output = nn.Linear(8, 10)


def test_every_matrix_is_found_under_the_path_of_its_layer_or_its_own():
    found = {weight.name: weight.layer_type for weight in matrix_weights(Mixed())}
    recurrent = [f"{kind}_l{layer}{way}" for layer in (0, 1) for way in ("", "_reverse") for kind in ("ih", "hh", "hr")]
    assert found == {
        "embed": "Embedding",
        **{f"lstm.weight_{name}": "LSTM" for name in recurrent},
        "gru.weight_ih_l0": "GRU",
        "gru.weight_hh_l0": "GRU",
        "attention.in_proj_weight": "MultiheadAttention",
        "attention.out_proj": "Linear",
        "conv": "Conv2d",
        "wave": "Conv1d",
        "output": "Linear",
    }


def test_gpt2s_transposed_layers_are_outputs_by_inputs_and_its_shared_embedding_is_one():
    model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=12, n_positions=8))
    found = {weight.name: weight for weight in matrix_weights(model)}
    attention = found["transformer.h.0.attn.c_attn"]
    assert attention.layer_type == "Conv1D"
    assert attention.matrix(attention.parameter).shape == (24, 8)
    assert found["transformer.wte"].layer_type == "Embedding"
    assert "lm_head" not in found
    assert not {"Embedding"} & {weight.layer_type for weight in matmul_weights(model)}


def names(model=None, **choice):
    asked = {"types": ("Linear", "Conv2d"), "include": (), "exclude": (), **choice}
    return [weight.name for weight in chosen(matrix_weights(model or Mixed()), **asked)]


def test_include_wins_over_exclude_and_types_over_both():
    assert names() == ["attention.out_proj", "conv", "output"]
    assert names(exclude=("out",)) == ["conv"]
    assert names(exclude=("out",), include=("output", "conv")) == ["conv", "output"]
    assert names(include=("embed", "output")) == ["output"]
    assert names(types=("Embedding",)) == ["embed"]


class Compiled(nn.Module):
    """Holds a module the way torch.compile does."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module


def test_a_compiled_model_has_the_names_of_the_model_itself():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Compiled(nn.Linear(4, 2)))
    for one in (model, Compiled(model)):
        assert [weight.name for weight in matrix_weights(one)] == ["0", "2"]
        assert [weight.parameter_name for weight in matrix_weights(one)] == ["0.weight", "2.weight"]
