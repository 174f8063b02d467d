import copy

import pytest
import torch
from torch import nn

from pipeline.training import cpu_dropout, loop
from pipeline.training.cpu_dropout import CpuDropout, cheap_dropout

COUNT = 400_003


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.97])
def test_the_asked_share_is_dropped_and_the_expectation_stays(rate):
    torch.manual_seed(0)
    dropped = CpuDropout(rate)(torch.ones(COUNT))
    error = (rate * (1 - rate) / COUNT) ** 0.5
    assert float((dropped == 0).float().mean()) == pytest.approx(rate, abs=4 * error)
    assert float(dropped.mean()) == pytest.approx(1, abs=4 * error / (1 - rate))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - rate)], rel=1e-3)


def test_every_bit_of_a_number_decides():
    torch.manual_seed(0)
    shares = (CpuDropout(0.5)(torch.ones(COUNT - 3)) == 0).float().view(-1, 4).mean(0)
    assert shares.tolist() == pytest.approx([0.5] * 4, abs=4 * 0.5 / (COUNT / 4) ** 0.5)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (CpuDropout(0.5)(torch.ones(COUNT)) == 0).float() - 0.5
    for apart in (1, 2, 3, 4, 8):
        correlation = float((dropped[apart:] * dropped[:-apart]).mean()) / 0.25
        assert correlation == pytest.approx(0, abs=4 / COUNT**0.5)


def test_gradients_pass_where_the_input_passed():
    values = torch.randn(7, 5, requires_grad=True)
    dropped = CpuDropout(0.4)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad * values.detach(), dropped.detach())
    assert 0 < int((values.grad == 0).sum()) < values.numel()


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (3, 5, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_shape_and_type_stay(shape, dtype):
    dropped = CpuDropout(0.3)(torch.ones(shape, dtype=dtype))
    assert (dropped.shape, dropped.dtype) == (torch.Size(shape), dtype)


def test_what_is_laid_out_in_columns_is_dropped_like_rows():
    torch.manual_seed(1)
    rows = CpuDropout(0.5)(torch.ones(6, 4))
    torch.manual_seed(1)
    assert torch.equal(CpuDropout(0.5)(torch.ones(4, 6).t()), rows)


def test_where_nothing_or_all_is_dropped_it_is_plain_dropout():
    values = torch.randn(50)
    assert CpuDropout(0.5).eval()(values) is values
    assert torch.equal(CpuDropout(0.0)(values), values)
    assert torch.equal(CpuDropout(1.0)(values), torch.zeros(50))


def test_a_seed_or_a_restored_state_brings_the_same_masks_back():
    layer, values = CpuDropout(0.5), torch.ones(1001)
    torch.manual_seed(3)
    first, state, second = layer(values), torch.get_rng_state(), layer(values)
    torch.manual_seed(3)
    assert torch.equal(layer(values), first)
    torch.set_rng_state(state)
    assert torch.equal(layer(values), second)
    assert not torch.equal(first, second)


class Own(nn.Dropout):
    pass


@pytest.fixture
def drawn_by_torch(monkeypatch):
    monkeypatch.setattr(cpu_dropout, "mkl_draws", lambda: False)


def kinds(model):
    return [type(module) for module in model.modules() if isinstance(module, nn.Dropout)]


def test_layers_are_cheap_inside_the_block_alone_and_own_kinds_never(drawn_by_torch):
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.2), Own(0.3)))
    with cheap_dropout(model):
        assert kinds(model) == [CpuDropout, CpuDropout, Own]
        copied = copy.deepcopy(model).eval()
        assert torch.equal(copied(torch.ones(1, 2)), copied(torch.ones(1, 2)))
    assert kinds(model) == [nn.Dropout, nn.Dropout, Own]


def test_an_error_in_the_block_leaves_plain_layers(drawn_by_torch):
    model = nn.Sequential(nn.Dropout(0.1))
    with pytest.raises(KeyError), cheap_dropout(model):
        raise KeyError
    assert kinds(model) == [nn.Dropout]


@pytest.mark.parametrize(
    ("told", "built_with_mkl", "draws"),
    [
        ("vendor_id\t: GenuineIntel\n", True, True),
        ("vendor_id\t: GenuineIntel\n", False, False),
        ("vendor_id\t: AuthenticAMD\n", True, False),
    ],
)
def test_what_mkl_draws_is_left_to_it(tmp_path, monkeypatch, told, built_with_mkl, draws):
    (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(cpu_dropout, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: built_with_mkl)
    monkeypatch.setattr(cpu_dropout, "mkl_draws", cpu_dropout.mkl_draws.__wrapped__)
    assert cpu_dropout.mkl_draws() == draws
    model = nn.Sequential(nn.Dropout(0.1))
    with cheap_dropout(model):
        assert kinds(model) == [nn.Dropout if draws else CpuDropout]


def test_training_drops_cheaply(bench, monkeypatch):
    entered = []
    monkeypatch.setattr(loop, "cheap_dropout", lambda model: entered.append(model) or cheap_dropout(model))
    bench.run(epochs=1)
    assert len(entered) == 1
