import importlib

import pytest
import torch

from pipeline.artifacts.run import Run
from pipeline.models import load_model

SHORT = ["training.mixed_precision=no", "training.progress=false", "training.batch_size=8", "stages.*.steps=2"]


@pytest.fixture
def finished(data, model, tmp_path):
    arguments = ["--data", str(data), "--model", str(model), "--runs-dir", str(tmp_path)]
    arguments += ["--points", "60", "--seeds", "5", "--rows", "24"]
    importlib.import_module("frontier").main([*arguments, *(part for text in SHORT for part in ("--set", text))])
    return Run.open(tmp_path / "shipped-p60-s5")


def check_start(finished, each, folder):
    """See that the kept units, and what is not cut, have the weights of the earlier model."""
    began, taken, cut = (
        load_model(path, "AutoModelForSequenceClassification")
        for path in (folder, finished[each.weights].path / "model", finished[each.cut].path / "model")
    )
    assert began.config.condensed == cut.config.condensed
    plan = each.plan(finished)
    kept = plan["encoder.0.heads"].units if "encoder.0.heads" in plan else range(4)
    rows = [unit * 4 + row for unit in kept for row in range(4)]
    query = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(began.get_parameter(query), taken.get_parameter(query)[rows])
    assert torch.equal(began.classifier.weight, taken.classifier.weight)
    assert not torch.equal(began.classifier.weight, cut.classifier.weight)


def test_every_rewinding_begins_with_earlier_weights_and_is_set_beside_the_run_itself(finished, capsys):
    rewinding = importlib.import_module("rewinding")
    _, later, ffn = (each.plan(finished) for each in rewinding.REWINDINGS)
    assert finished["recover_heads"].total_keep_plan.then(later) == ffn
    rewinding.main([str(finished.path)])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    table = {row[0]: row[1:] for row in rows if len(row) == 5}
    assert list(table)[2:] == ["not rewound", *(each.name for each in rewinding.REWINDINGS)]
    accuracy = 100 * finished["recover_ffn"].metrics["validation/accuracy"]
    assert table["not rewound"][0] == f"{accuracy:.2f}"
    assert table["not rewound"][2] == f"{accuracy:.2f} (+0.00)"
    for each in rewinding.REWINDINGS:
        check_start(finished, each, finished.path.parent / f".{each.name}-{finished.path.name}")
    again = Run.open(finished.path.parent / f"heads-to-finetune-{finished.path.name}")
    assert again.stages == ("recover_heads", "prune_ffn", "recover_ffn")
    before = {artifact: artifact.manifest for artifact in (again[name] for name in again.stages)}
    rewinding.main([str(finished.path)])
    assert all(again[artifact.name].manifest == manifest for artifact, manifest in before.items())
