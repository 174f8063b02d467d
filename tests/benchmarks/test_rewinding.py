import importlib

import pytest
import torch

from pipeline.artifacts.run import Run
from pipeline.models import load_model
from pipeline.reporting.latency import measure_latency
from pipeline.surgery.keep_plan import KeepPlan

SHORT = ["training.mixed_precision=no", "training.progress=false", "training.batch_size=8", "stages.*.steps=2"]


@pytest.fixture
def rewinding(_on_path):
    return importlib.import_module("rewinding")


@pytest.fixture
def finished(data, model, tmp_path, monkeypatch):
    monkeypatch.setitem(measure_latency.__kwdefaults__, "min_seconds", 0.0)
    arguments = ["--data", str(data), "--model", str(model), "--runs-dir", str(tmp_path)]
    arguments += ["--points", "60", "--seeds", "5", "--rows", "24"]
    importlib.import_module("frontier").main([*arguments, *(part for text in SHORT for part in ("--set", text))])
    return Run.open(tmp_path / "shipped-p60-s5")


def load(folder):
    return load_model(folder, "AutoModelForSequenceClassification")


@pytest.mark.parametrize("name", ["heads-to-finetune", "ffn-to-recover-heads", "ffn-to-finetune"])
def test_the_kept_units_have_the_earlier_weights(rewinding, finished, name):
    each = next(each for each in rewinding.REWINDINGS if each.name == name)
    began = load(rewinding.rewound_model(finished, each, finished.path.parent / name))
    taken, cut = (load(finished[stage].path / "model") for stage in (each.weights, each.cut))
    assert began.config.condensed == cut.config.condensed
    plan = each.plan(finished)
    kept = plan["encoder.0.heads"].units if "encoder.0.heads" in plan else range(4)
    rows = [unit * 4 + row for unit in kept for row in range(4)]
    query = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(began.get_parameter(query), taken.get_parameter(query)[rows])
    assert torch.equal(began.classifier.weight, taken.classifier.weight)
    assert not torch.equal(began.classifier.weight, cut.classifier.weight)


def test_what_is_cut_twice_is_counted_in_the_model_whose_weights_are_taken(rewinding, finished):
    heads, later, ffn = (each.plan(finished) for each in rewinding.REWINDINGS)
    assert isinstance(heads, KeepPlan)
    assert finished["recover_heads"].total_keep_plan.then(later) == ffn


def test_every_rewinding_is_run_once_and_set_beside_the_run_itself(rewinding, finished, capsys):
    rewinding.main([str(finished.path)])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    table = {row[0]: row[1:] for row in rows if len(row) == 5}
    assert list(table)[2:] == ["not rewound", *(each.name for each in rewinding.REWINDINGS)]
    accuracy = 100 * finished["recover_ffn"].metrics["validation/accuracy"]
    assert table["not rewound"][0] == f"{accuracy:.2f}"
    assert table["not rewound"][2] == f"{accuracy:.2f} (+0.00)"
    again = Run.open(finished.path.parent / f"heads-to-finetune-{finished.path.name}")
    assert again.stages == ("recover_heads", "prune_ffn", "recover_ffn")
    before = {artifact: artifact.manifest for artifact in (again[name] for name in again.stages)}
    rewinding.main([str(finished.path)])
    assert all(again[artifact.name].manifest == manifest for artifact, manifest in before.items())
