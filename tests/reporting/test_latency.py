import itertools
import signal

import pytest
import torch
from torch import nn

from pipeline.interruption import Interrupted
from pipeline.reporting.latency import MIN_ROUNDS, MIN_SECONDS, WARMUP_ROUNDS, Latency, measure_latency, real_batches


class Recorder(nn.Module):
    device = torch.device("cpu")

    def __init__(self, name, calls):
        super().__init__()
        self.name, self.calls = name, calls

    def forward(self, rows):
        self.calls.append((self.name, int(rows[0]), self.training, torch.is_inference_mode_enabled()))


class Rows:
    def __init__(self, num_rows):
        self.num_rows = num_rows

    def __len__(self):
        return self.num_rows

    def batch(self, rows):
        return {"rows": torch.tensor(list(rows)), "labels": torch.zeros(len(rows))}


def record(rounds=4, batches=2):
    calls = []
    models = {name: Recorder(name, calls) for name in ("dense", "small")}
    inputs = [{"rows": torch.tensor([batch])} for batch in range(batches)]
    latencies = measure_latency(models, inputs, rounds=rounds, min_seconds=0.0)
    return models, calls, latencies


def test_models_take_turns_on_each_batch_and_change_who_goes_first():
    _, calls, latencies = record(rounds=4)
    measured = calls[2 * WARMUP_ROUNDS :]
    assert [(name, batch) for name, batch, _, _ in measured] == [
        ("dense", 0),
        ("small", 0),
        ("small", 1),
        ("dense", 1),
        ("dense", 0),
        ("small", 0),
        ("small", 1),
        ("dense", 1),
    ]
    assert {len(latency.rounds_ms) for latency in latencies.values()} == {4}


def test_models_run_as_at_inference_and_go_back_to_training():
    models, calls, _ = record()
    assert all(not training and inference for _, _, training, inference in calls)
    assert all(model.training for model in models.values())


def test_however_slow_the_models_are_there_are_thirty_rounds(monkeypatch):
    hours = itertools.count(step=3600)
    monkeypatch.setattr("pipeline.reporting.latency.time.perf_counter", lambda: next(hours))
    calls = []
    models = {name: Recorder(name, calls) for name in ("dense", "small")}
    batches = [{"rows": torch.tensor([0])}]
    latencies = measure_latency(models, batches, rounds=MIN_ROUNDS, min_seconds=MIN_SECONDS)
    assert len(latencies["dense"].rounds_ms) == len(latencies["small"].rounds_ms) == 30


def test_quick_models_run_more_rounds_than_asked():
    calls = []
    quick = {"dense": Recorder("dense", calls)}
    latencies = measure_latency(quick, [{"rows": torch.tensor([0])}], rounds=2, min_seconds=0.02)
    assert len(latencies["dense"].rounds_ms) > 2


@pytest.mark.parametrize(("rounds", "batches"), [(0, 1), (1, 0)])
def test_nothing_to_measure_is_refused(rounds, batches):
    with pytest.raises(ValueError, match="at least one batch"):
        record(rounds=rounds, batches=batches)


def test_a_speedup_compares_the_two_models_round_by_round():
    reference, model = Latency((10.0, 40.0, 30.0)), Latency((5.0, 10.0, 10.0))
    assert model.speedup_over(reference) == 3.0
    assert reference.median_ms == 30.0
    assert Latency(tuple(range(101))).p95_ms == 95.0


@pytest.mark.parametrize(
    ("num_rows", "size", "count", "starts", "rows"),
    [(100, 10, 4, [0, 30, 60, 90], 10), (100, 1, 3, [0, 50, 99], 1), (7, 32, 5, [0], 7), (33, 32, 5, [0, 1], 32)],
)
def test_batches_are_neighbouring_rows_spread_over_the_split(num_rows, size, count, starts, rows):
    batches = real_batches(Rows(num_rows), size, count=count)
    assert [int(batch["rows"][0]) for batch in batches] == starts
    assert all(len(batch["rows"]) == rows and "labels" not in batch for batch in batches)


def test_a_signal_stops_between_two_rounds_and_leaves_the_models_as_they_were(monkeypatch):
    def stop():
        raise Interrupted(signal.SIGINT)

    calls = []
    model = Recorder("dense", calls)
    monkeypatch.setattr("pipeline.interruption.check", stop)
    with pytest.raises(Interrupted):
        measure_latency({"dense": model}, [{"rows": torch.tensor([0])}])
    assert len(calls) == WARMUP_ROUNDS
    assert model.training
