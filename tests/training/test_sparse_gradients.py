from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from pipeline.errors import RecipeError
from pipeline.training.sparse_gradients import WORTHWHILE, embedding_to_update_by_rows
from stages.sparsify.sparsifier import Sparsifier

CPU = SimpleNamespace(count=1, device=torch.device("cpu"))


def chosen(model, config, pruner=None, processes=CPU):
    return embedding_to_update_by_rows(model, config, pruner, processes)


def large_bert(fakes, **values):
    return fakes.tiny_bert(vocab_size=WORTHWHILE, **values)


def test_auto_takes_large_word_embeddings_in_one_process_on_the_cpu(fakes):
    model, config = large_bert(fakes), fakes.settings()
    assert chosen(model, config) is model.get_input_embeddings()
    assert chosen(fakes.tiny_bert(), config) is None
    assert chosen(model, config, processes=SimpleNamespace(count=1, device=torch.device("meta"))) is None
    assert chosen(model, fakes.settings(embedding_gradients="dense")) is None
    assert chosen(nn.Linear(2, 2), config) is None


def frozen_bert(fakes):
    model = large_bert(fakes)
    model.get_input_embeddings().weight.requires_grad_(False)
    return model


def tied(fakes):
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return BertForMaskedLM(BertConfig(vocab_size=WORTHWHILE, **shape))


def rescaled(fakes):
    model = large_bert(fakes)
    model.get_input_embeddings().scale_grad_by_freq = True
    return model


def frozen_but_for_words(fakes):
    model = large_bert(fakes)
    model.requires_grad_(False).get_input_embeddings().weight.requires_grad_(True)
    return model


CASES = {
    "nothing else learns": {"model": frozen_but_for_words},
    "learning_rate times weight_decay": {"learning_rate": 2.0, "weight_decay": 0.5},
    "the model has no word embeddings that learn": {"model": frozen_bert},
    "the word embeddings are tied to another module": {"model": tied},
    "the embeddings are rescaled as they are read": {"model": rescaled},
    "the weights are not float32": {"model": lambda fakes: large_bert(fakes).bfloat16()},
    "there are several processes": {"processes": SimpleNamespace(count=2, device=torch.device("cpu"))},
    "fp16 scales dense ones": {"mixed_precision": "fp16"},
    "betas must be such": {"betas": (0.99, 0.9)},
}


@pytest.mark.parametrize("reason", CASES)
def test_what_cannot_be_sparse_is_dense_by_itself_and_refused_where_asked_for(fakes, reason):
    case = dict(CASES[reason])
    model, processes = case.pop("model", large_bert)(fakes), case.pop("processes", CPU)
    assert chosen(model, fakes.settings(**case), processes=processes) is None
    with pytest.raises(RecipeError, match=f"embedding_gradients: cannot be sparse: {reason}.*set auto or dense"):
        chosen(model, fakes.settings(embedding_gradients="sparse", **case), processes=processes)


def test_a_pruner_of_the_embeddings_reads_dense_gradients(fakes):
    model, config = large_bert(fakes), fakes.settings()
    layers = {"types": ["Linear", "Embedding"], "exclude": []}
    of_all = Sparsifier(model, {"sparsity": 0.5, "pattern": "1x1", "layers": layers}, num_steps=10)
    of_linear = Sparsifier(model, {"sparsity": 0.5, "pattern": "1x1"}, num_steps=10)
    assert chosen(model, config, of_all) is None
    assert chosen(model, config, of_linear) is model.get_input_embeddings()
