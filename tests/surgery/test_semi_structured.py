import logging

import pytest
import torch
from torch import nn

import pipeline
from pipeline.errors import CompressionError
from pipeline.surgery import semi_structured
from pipeline.surgery.semi_structured import is_two_of_four, to_semi_structured


def two_of_four(rows, columns):
    layer = nn.Linear(columns, rows)
    with torch.no_grad():
        layer.weight.view(-1, 4)[:, :2] = 0
    return layer


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(two_of_four(64, 128), nn.Linear(64, 64), two_of_four(40, 64), two_of_four(64, 40)).half()


def test_two_of_four_is_told_from_the_zeros_alone():
    assert is_two_of_four(torch.tensor([[0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0]]))
    assert not is_two_of_four(torch.tensor([[0.0, 1.0, 3.0, 2.0, 0.0, 0.0, 0.0, 0.0]]))
    assert not is_two_of_four(torch.zeros(2, 4))
    assert not is_two_of_four(torch.zeros(2, 6))
    assert not is_two_of_four(torch.zeros(0, 4))


def test_elsewhere_it_is_refused_in_one_line(model):
    with pytest.raises(CompressionError, match=r"needs an NVIDIA GPU of compute capability 8\.0 or more, got"):
        pipeline.to_semi_structured(model)
    with pytest.raises(CompressionError, match="the model has no Linear with 2:4 zeros"):
        to_semi_structured(nn.Sequential(nn.Linear(8, 8)))


def on(monkeypatch, capability):
    """Let the weights look as if they were on a GPU of that capability."""
    check = semi_structured._check_hardware

    class OnGpu:
        def __init__(self, weight):
            self.device, self.dtype = torch.device("cuda"), weight.dtype

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(semi_structured, "_check_hardware", lambda weight: check(OnGpu(weight)))


def test_an_older_gpu_and_another_precision_are_refused(model, monkeypatch):
    on(monkeypatch, (7, 5))
    with pytest.raises(CompressionError, match=r"8\.0 or more, got 7\.5; the dense weights compute the same"):
        to_semi_structured(model)
    on(monkeypatch, (9, 0))
    with pytest.raises(CompressionError, match=r"must be in float16 or bfloat16, got torch\.float32"):
        to_semi_structured(model.float())


def test_only_what_has_the_zeros_and_the_shape_is_converted_in_a_copy(model, monkeypatch, caplog):
    on(monkeypatch, (8, 0))
    seen = []
    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", lambda weight: seen.append(weight) or weight + 1)
    before = [parameter.clone() for parameter in model.parameters()]
    with caplog.at_level(logging.WARNING):
        converted = to_semi_structured(model)
    assert len(seen) == 1
    assert torch.equal(converted[0].weight, model[0].weight + 1)
    assert all(torch.equal(converted[index].weight, model[index].weight) for index in (1, 2, 3))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    assert "these weights stay dense, not multiples of 32 × 64: 2, 3" in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:The PyTorch API of SparseSemiStructuredTensor")
def test_on_a_gpu_the_outputs_are_those_of_the_dense_weights(model):
    model = model[:1].cuda()
    inputs = torch.randn(32, 128, device="cuda", dtype=torch.float16)
    torch.testing.assert_close(to_semi_structured(model)(inputs), model(inputs), rtol=1e-2, atol=1e-2)
