import pytest
import torch
from torch import nn

from pipeline.errors import CompressionError
from pipeline.training.embedding_rows import EmbeddingRows
from pipeline.training.optimizers import build_optimizer

STEPS = 120


def learning_rate(step):
    return 1e-2 * (1 - step / STEPS)


class Pair:
    """The same table twice, read by the same words: one updated whole by torch's AdamW, one by its rows."""

    def __init__(self, fakes, seed=0, **values):
        self.config = fakes.settings(**values)
        torch.manual_seed(seed)
        self.whole = nn.Embedding(80, 6, padding_idx=0)
        self.table = nn.Embedding(80, 6, padding_idx=0)
        self.table.load_state_dict(self.whole.state_dict())
        self.before = self.whole.weight.detach().clone()
        self.adamw = torch.optim.AdamW(
            self.whole.parameters(),
            betas=self.config.betas,
            eps=self.config.epsilon,
            weight_decay=self.config.weight_decay,
            fused=True,
        )
        self.state = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
        self.rows = EmbeddingRows(self.table, self.state, self.config, learning_rate)
        self.target = torch.randn(6)

    def train(self, first=0, last=STEPS, *, clip=None, scale=1.0):
        with self.rows.attached():
            for step in range(first, last):
                generator = torch.Generator().manual_seed(step)
                words = (torch.rand(3, 5, generator=generator) ** 3 * 80).long()
                for group in self.adamw.param_groups:
                    group["lr"] = learning_rate(step)
                for table in (self.whole, self.table):
                    ((table(words) - self.target).square().mean() * scale).backward()
                read = self.rows.take_gradient()
                if clip is not None:
                    norms = (
                        nn.utils.clip_grad_norm_(self.whole.parameters(), clip),
                        nn.utils.clip_grad_norm_(read, clip),
                    )
                    torch.testing.assert_close(*norms, rtol=1e-2, atol=0)
                self.adamw.step()
                self.adamw.zero_grad()
                self.rows.step()

    def distance(self):
        """Return how far the tables are apart, as a share of the way that training went."""
        way = (self.whole.weight - self.before).norm()
        return ((self.whole.weight - self.table.weight).norm() / way).item()

    def bits(self):
        moments = self.state.state[self.table.weight]
        return {
            "weight": self.table.weight.detach().clone(),
            **{name: value.clone() for name, value in moments.items()},
        }


@pytest.mark.parametrize(
    "values",
    [{"weight_decay": 0.0}, {"weight_decay": 0.3}, {"betas": (0.5, 0.9)}, {"betas": (0, 0.9), "weight_decay": 0.3}],
)
@pytest.mark.parametrize("clip", [None, 1e-2])
def test_rows_end_where_adamw_brings_the_whole_table(fakes, values, clip):
    pair = Pair(fakes, **values)
    pair.train(clip=clip)
    lagging = pair.distance()
    pair.rows.settle()
    assert pair.distance() < min(1e-4, lagging / 5)
    whole = pair.adamw.state[pair.whole.weight]
    own = pair.state.state[pair.table.weight]
    for name in ("step", "exp_avg", "exp_avg_sq"):
        assert (own[name] - whole[name]).norm() <= 1e-2 * whole[name].norm()


@pytest.mark.parametrize(("scale", "allowed"), [(1e-1, 5e-6), (1e-3, 1e-4)])
def test_rows_with_small_gradients_end_there_too_since_epsilon_counts_as_it_grows_beside_the_moments(
    fakes, scale, allowed
):
    pair = Pair(fakes)
    pair.train(scale=scale)
    pair.rows.settle()
    assert pair.distance() < allowed


def test_rows_that_are_read_at_each_step_get_the_bits_of_adamw(fakes):
    pair = Pair(fakes)
    everything = torch.arange(80)
    with pair.rows.attached():
        for step in range(5):
            for group in pair.adamw.param_groups:
                group["lr"] = learning_rate(step)
            for table in (pair.whole, pair.table):
                (table(everything) - pair.target).square().mean().backward()
            pair.rows.take_gradient()
            pair.rows.step()
            pair.adamw.step()
            pair.adamw.zero_grad()
    assert pair.table.weight[1:].equal(pair.whole.weight[1:])


@pytest.mark.parametrize("training", [True, False])
def test_a_row_is_up_to_date_when_a_forward_pass_reads_it(fakes, training):
    pair = Pair(fakes, weight_decay=0.0)
    pair.train()
    pair.table.train(training)
    words = torch.arange(80)
    with pair.rows.attached():
        read = pair.table(words)
        assert (read - pair.whole(words)).norm() < 1e-3 * (pair.whole.weight - pair.before).norm()


def test_looking_at_all_rows_between_steps_changes_no_bit(fakes):
    silent, looking = Pair(fakes), Pair(fakes)
    silent.train(last=40)
    looking.train(last=20)
    before = looking.bits()
    with looking.rows.attached(), looking.rows.caught_up():
        looking.table.eval()(torch.arange(80))
        assert looking.distance() < 1e-3
        assert not looking.table.weight.equal(before["weight"])
    assert all(value.equal(before[name]) for name, value in looking.bits().items())
    looking.train(20, 40)
    assert all(value.equal(looking.bits()[name]) for name, value in silent.bits().items())


def test_settling_again_changes_no_bit(fakes):
    pair = Pair(fakes)
    pair.train(last=30)
    pair.rows.settle()
    settled = pair.bits()
    pair.rows.settle()
    assert all(value.equal(settled[name]) for name, value in pair.bits().items())
    assert (settled["seen"] == 30).all()


def test_a_fresh_optimizer_with_the_moments_goes_on_in_the_same_bits(fakes):
    whole, first = Pair(fakes), Pair(fakes)
    whole.train()
    first.train(last=50)
    again, saved = Pair(fakes), first.bits()
    again.table.weight.data.copy_(saved.pop("weight"))
    again.state.state[again.table.weight] = saved
    again.train(50)
    assert all(value.equal(again.bits()[name]) for name, value in whole.bits().items())


def test_the_embedding_gives_dense_gradients_again_afterwards(fakes):
    pair = Pair(fakes)
    with pair.rows.attached():
        assert pair.table.sparse
    assert not pair.table.sparse
    pair.table(torch.tensor([1])).sum().backward()
    assert not pair.table.weight.grad.is_sparse


def test_embeddings_that_something_reads_whole_are_refused_with_the_way_out(fakes):
    pair = Pair(fakes)
    with pair.rows.attached():
        (pair.table(torch.tensor([1])).sum() + pair.table.weight.sum()).backward()
        with pytest.raises(CompressionError, match=r"dense gradient.*set training\.embedding_gradients: dense"):
            pair.rows.take_gradient()


def test_a_training_with_sparse_gradients_ends_where_a_dense_one_does(benches, fakes):
    dense, sparse = benches("dense"), benches("sparse")
    before = fakes.tiny_bert().get_input_embeddings().weight.detach()
    tables = []
    for bench, asked in ((dense, "dense"), (sparse, "sparse")):
        bench.run(embedding_gradients=asked)
        tables.append(bench.model.get_input_embeddings().weight.detach())
    assert (tables[0] - tables[1]).norm() < 1e-2 * (tables[0] - before).norm()
    assert [line.keys() for line in dense.log.lines()] == [line.keys() for line in sparse.log.lines()]


def test_the_rest_of_the_model_is_left_to_the_optimizer(fakes):
    model = fakes.tiny_bert()
    weight = model.get_input_embeddings().weight
    optimizer = build_optimizer(model, fakes.settings(), without=weight)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()} - {id(weight)}
