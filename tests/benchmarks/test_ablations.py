import importlib

import pytest


@pytest.fixture
def ablations(_on_path):
    return importlib.import_module("frontier_ablations")


@pytest.fixture
def frontier(_on_path):
    return importlib.import_module("frontier")


@pytest.fixture
def jobs(ablations, data, model):
    """A function from ablations to their recipes, at the point that the file is written for."""
    runs, points = importlib.import_module("frontier_runs"), importlib.import_module("frontier_points")
    document = importlib.import_module("sst2_work").sst2_recipe(data, model)
    point = points.find_point(points.Sizes(72, 9216, 49_248, 769, 10_646_784), 86.0)
    return lambda named: [runs.Job(ablation, point, 42).recipe(document) for ablation in named]


def effective(stage):
    """Return a stage's settings, but those that the others leave without effect."""
    ignored = getattr(stage.config, "ignored", lambda: ())()
    return {name: value for name, value in stage.config.model_dump().items() if name not in ignored}


def test_every_ablation_of_the_file_is_valid_and_changes_either_finetuning_or_what_follows(ablations, jobs):
    named = ablations.read_ablations(ablations.Path(ablations.__file__).parent / "ablations.yaml")
    assert len(named) == len({ablation.name for ablation in named}) > 30
    shipped, *recipes = jobs([importlib.import_module("frontier_runs").Ablation("shipped"), *named])
    settings = {}
    for ablation, recipe in zip(named, recipes, strict=True):
        finetune, *after = recipe.stages
        settings[ablation.name] = (recipe.budget, *map(effective, recipe.stages))
        changes_finetuning = finetune != shipped.stages[0]
        assert changes_finetuning == ablation.name.startswith("finetune-"), ablation.name
        follows_as_shipped = (recipe.budget, *map(effective, after)) == (None, *map(effective, shipped.stages[1:]))
        assert follows_as_shipped == changes_finetuning, ablation.name
    twins = [(one, other) for one in settings for other in settings if one < other and settings[one] == settings[other]]
    assert not twins


def test_ablations_can_be_picked_by_name(ablations, tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text('a: [training.warmup=1]\nb: ["stages.prune_ffn.repair={}", training.warmup=2]\nc: [x=1]\n')
    assert [ablation.name for ablation in ablations.read_ablations(path)] == ["a", "b", "c"]
    (picked,) = ablations.read_ablations(path, ["b"])
    assert picked.overrides == ("stages.prune_ffn.repair={}", "training.warmup=2")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must hold NAME: "),
        ("a: [b=1", "cannot be read"),
        ("a: [b=1]\na: [b=2]", "cannot be read"),
        ("a: b=1", "got a: b=1"),
        ("a: [{b: 1}]", "must hold NAME: "),
        ("a: [b]", "must be NAME=PATH=VALUE"),
        ("shipped: [b=1]", "and not shipped"),
        ("a: [b=1]\nc: [d=1]", "has no 'x'; there are a, c"),
    ],
)
def test_what_is_no_file_of_ablations_is_told_before_anything_runs(frontier, tmp_path, capsys, text, told):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    pick = ["--pick", "x"] if "c:" in text else []
    with pytest.raises(SystemExit):
        frontier.parse(["--data", ".", "--model", ".", "--ablations", str(path), *pick])
    assert told in capsys.readouterr().err


def test_a_wrong_setting_stops_all_runs_before_the_first(frontier, data, model, tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("good: [stages.prune_ffn.form=nni]\nwrong: [stages.prune_ffn.form=nnu]\n")
    arguments = ["--data", str(data), "--model", str(model), "--runs-dir", str(tmp_path / "runs"), "--points", "60"]
    with pytest.raises(SystemExit, match=r"wrong-p60-s42: .*stages\.prune_ffn\.form: must be"):
        frontier.main([*arguments, "--ablations", str(path)])
    assert not (tmp_path / "runs").exists()


def test_a_run_that_fails_stops_no_other(frontier, data, model, tmp_path, monkeypatch, capsys):
    failure = importlib.import_module("pipeline.errors").CompressionError("the loss is not finite")
    ran = []

    def run_job(job, *arguments):
        ran.append(job.name)
        raise failure

    monkeypatch.setattr(frontier, "run_job", run_job)
    arguments = ["--data", str(data), "--model", str(model), "--runs-dir", str(tmp_path), "--points", "60"]
    with pytest.raises(SystemExit, match="no run came to its end"):
        frontier.main([*arguments, "--seeds", "1", "2"])
    assert ran == ["shipped-p60-s1", "shipped-p60-s2"]
    assert "shipped-p60-s2 failed: the loss is not finite" in capsys.readouterr().out
