import importlib
import json
import shutil

import pytest
from transformers import AutoModel

SHORT = ["training.mixed_precision=no", "training.progress=false", "training.batch_size=8", "stages.*.steps=2"]
WORDS = ("good", "bad", "a", "film", "very", "dull", "bright", "plot")


@pytest.fixture
def mnli(_on_path, monkeypatch):
    work = importlib.import_module("mnli_work")
    monkeypatch.setattr(work, "NUM_HELDOUT", 6)
    return work


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "mnli"
    folder.mkdir()
    for name, rows in (("train_41k", 30), ("validation_matched", 8)):
        lines = [
            {"premise": " ".join(WORDS[: row % 5 + 1]), "hypothesis": WORDS[row % 7], "label": row % 3}
            for row in range(rows)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def headless(model, tmp_path):
    """The tiny model without its head, which is of two classes."""
    folder = shutil.copytree(model, tmp_path / "headless")
    AutoModel.from_pretrained(model).save_pretrained(folder)
    return folder


@pytest.fixture
def works(_on_path):
    return importlib.import_module("frontier_works")


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_rows_are_chosen_on_that_are_not_trained_on_and_none_is_lost(mnli, pairs, model, tmp_path):
    recipe = mnli.mnli_recipe(pairs, model, tmp_path / "rows")
    files = recipe["task"]["dataset"]["data_files"]
    train, heldout = ((tmp_path / "rows" / f"{name}.jsonl").read_bytes() for name in ("train", "heldout"))
    assert [files[name] for name in ("train", "heldout")] == [
        str(tmp_path / "rows" / f"{name}.jsonl") for name in ("train", "heldout")
    ]
    assert train + heldout == (pairs / "train_41k.jsonl").read_bytes()
    assert heldout.count(b"\n") == 6
    before = (tmp_path / "rows" / "train.jsonl").stat().st_mtime_ns
    mnli.mnli_recipe(pairs, model, tmp_path / "rows")
    assert (tmp_path / "rows" / "train.jsonl").stat().st_mtime_ns == before


def test_too_few_rows_and_missing_files_are_told(mnli, pairs, model, tmp_path, monkeypatch):
    monkeypatch.setattr(mnli, "NUM_HELDOUT", 30)
    with pytest.raises(SystemExit, match="must hold more rows than the 30 that are held out, got 30"):
        mnli.mnli_recipe(pairs, model, tmp_path / "rows")
    with pytest.raises(SystemExit, match=r"--data must hold train_41k\.jsonl and validation_matched\.jsonl"):
        mnli.mnli_recipe(tmp_path, model, tmp_path / "rows")


def test_the_works_runs_and_folders_have_names_of_their_own(works):
    runs = importlib.import_module("frontier_runs")
    folders = {(name, rows): work.runs_dir(rows) for name, work in works.WORKS.items() for rows in (None, 5000)}
    assert len(set(folders.values())) == 4
    assert folders["sst2", None].name == "frontier-20k"
    names = {
        runs.Job(runs.Ablation(ablation), point, 1, work.prefix).name
        for work in works.WORKS.values()
        for ablation in ("shipped", "mnli", "mnli-shipped")
        for point in (type("Point", (), {"percent": percent}) for percent in (72.5, 86))
    }
    assert len(names) == 2 * 3 * 2


def test_mnli_is_run_recorded_beside_what_is_published_and_not_run_again(
    mnli, pairs, headless, tmp_path, monkeypatch, capsys
):
    frontier, results = importlib.import_module("frontier"), tmp_path / "RESULTS.md"
    monkeypatch.setattr(importlib.import_module("machine").record, "__defaults__", (results,))
    arguments = ["--work", "mnli", "--data", str(pairs), "--model", str(headless), "--runs-dir", str(tmp_path / "runs")]
    arguments += ["--points", "60", "--seeds", "5", "--rows", "16", "--record"]
    arguments += [argument for override in SHORT for argument in ("--set", override)]
    frontier.main(arguments)
    assert "1 runs: mnli.shipped-p60-s5" in capsys.readouterr().out
    last = tmp_path / "runs" / "mnli.shipped-p60-s5" / "05-recover_ffn"
    assert json.loads((last / "model" / "config.json").read_text())["id2label"].keys() == {"0", "1", "2"}
    metrics = json.loads((last / "manifest.json").read_text())["metrics"]
    text = results.read_text(encoding="utf-8")
    assert "## Frontier, MNLI with 16 rows" in text
    beside = cells(text.split("### Beside what is published")[1])
    assert [row[0] for row in beside[2:]] == sorted((row[0] for row in beside[2:]), key=lambda cell: float(cell[:-1]))
    (ours,) = [row for row in beside if row[1] == "**ours, shipped, seeds: 1**"]
    assert float(ours[3]) == pytest.approx(100 * metrics["validation_matched/accuracy"], abs=0.005)
    assert float(ours[4]) == pytest.approx(float(ours[2]) - float(ours[3]), abs=0.011)
    assert ["89.81%", "NNI, tutorial on pruning BERT for GLUE, first table", "84.73", "81.24", "3.49"] in [
        row[:5] for row in beside
    ]
    before = (last / "manifest.json").stat().st_mtime_ns
    frontier.main(arguments)
    assert (last / "manifest.json").stat().st_mtime_ns == before
