import importlib

import pytest
import torch

SHORT = ["training.mixed_precision=no", "training.progress=false", "training.batch_size=8", "stages.*.steps=2"]


@pytest.fixture
def sparsify(_on_path):
    return importlib.import_module("sparsify")


@pytest.fixture
def runs(_on_path):
    return importlib.import_module("sparsify_runs")


@pytest.fixture
def loops(_on_path):
    return importlib.import_module("sparsify_loops")


@pytest.fixture
def cost(_on_path):
    return importlib.import_module("sparsify_cost")


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]


def test_each_setting_changes_one_factor_of_the_shipped_recipe_and_is_valid(runs, data, model):
    work = importlib.import_module("sst2_work").sst2_recipe(data, model, extends=runs.RECIPE)
    configs = {name: runs.Job(name, 7).recipe(work).stage(runs.STAGE).config for name in runs.SETTINGS}
    shipped = configs["4x1-80"].model_dump()
    assert (shipped["pattern"], shipped["sparsity"], shipped["criterion"]) == ("4x1", 0.8, "snip_momentum")
    changed = {
        name: {field: value for field, value in config.model_dump().items() if value != shipped[field]}
        for name, config in configs.items()
    }
    assert changed == {
        "4x1-80": {},
        "4x1-90": {"sparsity": 0.9},
        "2of4-50": {"pattern": "2:4", "sparsity": 0.5},
        "1x1-90": {"pattern": "1x1", "sparsity": 0.9},
        "4x1-80-magnitude": {"criterion": "magnitude"},
        "4x1-80-snip": {"criterion": "snip"},
        "4x1-80-no-distill": {"distill": None},
        "dense-as-long": {"enabled": False},
    }


def test_a_settings_own_changes_win_over_those_of_all_runs(runs, data, model):
    work = importlib.import_module("sst2_work").sst2_recipe(data, model, extends=runs.RECIPE)
    recipe = runs.Job("4x1-90", 7).recipe(work, ["stages.sparsify.sparsity=0.3", "stages.*.epochs=1"])
    assert (recipe.name, recipe.seed) == ("sparse-4x1-90-s7", 7)
    assert (recipe.stage("sparsify").config.sparsity, recipe.stage("finetune").config.epochs) == (0.9, 1)


def test_scores_are_means_and_bests_and_losses_are_shares_of_the_dense_ones(runs):
    assert runs.score_cells([0.80, 0.88], [0.90, 0.90]) == ["84.00", "88.00", "6.67%", "2.22%"]
    assert runs.score_cells([0.91], [0.90]) == ["91.00", "91.00", "-1.11%", "-1.11%"]
    outcomes = [
        runs.Outcome(
            runs.Job("4x1-80", seed),
            {"heldout": 0.9, "validation": 0.8},
            {"heldout": heldout, "validation": 0.6},
            *(0.8, 0.7, ratio),
            {"finetune": 10.0, "sparsify": seconds},
        )
        for seed, heldout, ratio, seconds in ((1, 0.8, 1.5, 20.0), (2, 0.88, 1.7, 30.0))
    ]
    assert cells(runs.score_table(outcomes))[2] == [
        *("4x1-80", "2", "84.00", "88.00", "6.67%", "2.22%"),
        *("60.00", "60.00", "25.00%", "25.00%"),
    ]
    assert cells(runs.size_table(outcomes))[2] == ["4x1-80", "80.00%", "70.00%", "1.60", "10", "25"]
    assert cells(runs.dense_table(outcomes))[2:] == [["1", "90.00%", "80.00%"], ["2", "90.00%", "80.00%"]]


def test_runs_share_the_finetuning_and_a_second_call_runs_nothing(sparsify, data, model, tmp_path, monkeypatch, capsys):
    results = tmp_path / "RESULTS.md"
    monkeypatch.setattr(importlib.import_module("machine").record, "__defaults__", (results,))
    arguments = ["--work", "sst2", "--data", str(data), "--model", str(model), "--runs-dir", str(tmp_path / "runs")]
    arguments += ["--settings", "4x1-80", "2of4-50", "--seeds", "5", "--rows", "24", "--record"]
    arguments += [argument for override in SHORT for argument in ("--set", override)]
    sparsify.main(arguments)

    def both(name):
        return [tmp_path / "runs" / f"sparse-{settings}-s5" / name for settings in ("4x1-80", "2of4-50")]

    one, other = both("01-finetune/model/model.safetensors")
    assert one.samefile(other)
    last = both("02-sparsify/manifest.json")
    assert last[0].read_bytes() != last[1].read_bytes()
    text = results.read_text(encoding="utf-8")
    assert "## Sparsify, SST-2 with 24 rows" in text
    assert [row[1] for row in cells(text) if row[0] in ("4x1-80", "2of4-50")][2:] == ["80.02%", "50.00%"]
    before = [path.stat().st_mtime_ns for path in last]
    sparsify.main(arguments)
    assert [path.stat().st_mtime_ns for path in last] == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--work", "lstm"], "--data: must be given with --work lstm"),
        (["--work", "sst2", "--data", "."], "--model: must be given with --work sst2"),
        (["--work", "digits-cnn", "--set", "a=b"], "--set: changes recipes, and --work digits-cnn has none"),
    ],
)
def test_what_a_kind_of_work_lacks_or_cannot_use_is_told(sparsify, arguments, told, capsys):
    with pytest.raises(SystemExit):
        sparsify.parse(arguments)
    assert told in capsys.readouterr().err


def test_a_network_goes_on_from_the_dense_one_with_each_trial_and_with_none(loops):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 8, generator=generator), torch.arange(40) % 2
    work = loops.LoopWork(
        lambda: torch.nn.Linear(8, 2),
        rows,
        {"validation": rows},
        ("Linear",),
        epochs=3,
        batch_size=16,
        learning_rate=0.1,
    )
    assert work.num_steps == 9
    table = cells(loops.loop_tables(work, [loops.Trial("1x4", 0.75), loops.Trial("1x1", 0.5)], [1, 2])[1])
    assert [row[:4] for row in table[2:]] == [
        ["dense, trained as long", "–", "0.00%", "2"],
        ["1x4, snip_momentum", "75.0%", "75.00%", "2"],
        ["1x1, snip_momentum", "50.0%", "50.00%", "2"],
    ]
    assert table[2][8] == "1.00"
    assert all(float(row[8]) > 1 for row in table[3:])


def test_sentences_become_the_places_of_the_words_seen_in_training(loops, data):
    work = loops.lstm_work(data, 6)
    ids, labels = work.train
    assert ids.shape == (6, loops.LONGEST)
    assert labels.tolist() == [0, 1] * 3
    unknown, _ = loops._encoded([(["good", "unheard"], 1)], {"good": 2})
    assert unknown[0, :3].tolist() == [2, 1, 0]
    network = work.build().eval()
    short = network(ids[:1])
    assert torch.allclose(network(ids)[:1], short, atol=1e-6), "what others are padded to changes nothing"


def test_the_digits_network_reads_the_images(loops):
    work = loops.digits_work(1)
    images, labels = work.train
    assert work.build()(images[:3]).shape == (3, 10)
    assert (len(labels), len(work.tests["validation"][1])) == (1347, 450)
    assert -0.31 < images.min() < images.max() < 0.71


def test_the_pruners_time_is_told_for_each_pattern(cost, model):
    from transformers import AutoModelForSequenceClassification

    tiny = AutoModelForSequenceClassification.from_pretrained(model)
    table = cells(cost.step_costs(tiny, steps=2, batch_size=2, num_tokens=8))
    assert [row[0] for row in table[2:]] == [
        *("finetune, no pruner", "sparsify, 1x1", "sparsify, 4x1", "sparsify, 2:4")
    ]
    assert all(float(row[2]) > 1 for row in table[3:])
    updates = cells(cost.update_costs(cost.bert_sized(num_layers=1, width=8, inner=16), updates=2))
    assert [row[0] for row in updates[2:]] == ["1x1", "4x1", "2:4"]
    assert updates[0][1:] == ["snip_momentum", "magnitude", "asked"]
