# ruff: noqa: E501 - a message stands here as it is printed, in one line
import json
import logging
import os
import signal
from pathlib import Path

import pytest
import typer

from pipeline import Run, cli
from pipeline.errors import ArtifactError, RecipeError
from pipeline.interruption import Interrupted
from pipeline.runner.twins import Twin

RECIPE = """\
name: example
model: {config: {model_type: bert}}
task:
  type: text-classification
  dataset: {builtin: grammar}
  text: text
training: {learning_rate: 1e-4}
stages:
  - {uses: finetune, epochs: 2}
  - {uses: prune_heads, name: heads, sparsity: 0.5}
"""


@pytest.fixture(autouse=True)
def _loggers_as_before():
    loggers = [logging.getLogger(name) for name in ("pipeline", "stages")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (logger.handlers, level, logger.propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Call the command in an empty folder with a recipe; return status, standard output and error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def run_command(*arguments):
        with pytest.raises(SystemExit) as stopped:
            cli.main(list(arguments))
        printed = capsys.readouterr()
        return stopped.value.code, printed.out, printed.err

    return run_command


def fail(monkeypatch, error, does="plan"):
    def work(*arguments, **options):
        raise error

    monkeypatch.setattr(f"pipeline.api.{does}", work)


def test_plan_shows_every_value_with_its_origin_and_what_would_run(call):
    status, output, errors = call("plan", "recipe.yaml", "--set", "training.batch_size=4")
    assert (status, errors) == (0, "")
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "recipe.yaml 9: epochs=2" in lines
    assert "recipe.yaml 10: sparsity=0.5" in lines
    assert lines.count("training (recipe.yaml) 7: learning_rate=0.0001") == 2
    assert lines.count("training (--set) batch_size=4") == 2
    assert "heads (prune_heads)" in lines
    assert lines[-5:] == [
        "runs/example",
        "1 finetune missing",
        "2 heads missing",
        "depends on finetune",
        "to run: finetune, heads",
    ]


def test_plan_without_values_is_the_plan_alone(call):
    _, output, _ = call("plan", "recipe.yaml", "--no-values", "--until", "finetune")
    assert output.splitlines() == ["runs/example", "   1  finetune  missing", "to run: finetune"]


def test_plan_of_every_stage_shows_each_field_once(call):
    from pipeline.recipe import load_recipe
    from stages import STAGES

    _, output, _ = call("plan", "recipe.yaml")
    recipe = load_recipe("recipe.yaml", stages=STAGES)
    shown = output.count("=")
    assert shown == sum(not path.startswith("training.") for path, _, _ in recipe.values())


def test_plan_writes_nothing(call, tmp_path):
    call("plan", "recipe.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_status_tells_when_there_is_nothing(call, tmp_path):
    assert call("status") == (0, "no runs in runs\n", "")
    (tmp_path / "empty").mkdir()
    for place in ("mine", "empty"):
        assert call("status", place) == (2, "", f"{place}: no such run; there are in runs: none\n")


def test_recipes_are_listed_by_name_and_printed_as_they_are(call):
    status, output, _ = call("recipes")
    assert status == 0
    assert [line.split()[0] for line in output.splitlines()] == [
        "bert-base-mnli",
        "bert-base-sst2",
        "minilm-sst2",
        "minilm-sst2-fast",
        "minilm-sst2-sparse",
        "quickstart",
    ]
    _, text, _ = call("recipes", "quickstart")
    assert "name: quickstart\n" in text
    assert call("recipes", "quick")[::2] == (
        2,
        "quick: no such recipe (did you mean 'quickstart'?); shipped: "
        "bert-base-mnli, bert-base-sst2, minilm-sst2, minilm-sst2-fast, minilm-sst2-sparse, quickstart\n",
    )


def test_schema_is_json_that_knows_every_stage(call):
    _, output, _ = call("schema")
    assert {"stage-finetune", "stage-prune_heads", "stage-distill", "stage-prune_ffn"} <= set(
        json.loads(output)["$defs"]
    )


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RecipeError("recipe.yaml:3: seed: wrong"), 2, "recipe.yaml:3: seed: wrong\n"),
        (ArtifactError("runs/x is damaged"), 1, "runs/x is damaged\n"),
        (ZeroDivisionError("division\nby zero"), 1, "unexpected ZeroDivisionError: division by zero; --debug shows the traceback\n"),
        (Interrupted(signal.SIGINT), 130, "stopped by SIGINT; resume with: pruneline run recipe.yaml --runs-dir 'my runs'\n"),
        (Interrupted(signal.SIGTERM), 143, "stopped by SIGTERM; resume with: pruneline run recipe.yaml --runs-dir 'my runs'\n"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT; resume with: pruneline run recipe.yaml --runs-dir 'my runs'\n"),
        (typer.Abort(), 130, "stopped by SIGINT; resume with: pruneline run recipe.yaml --runs-dir 'my runs'\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_what_stops_a_command_is_one_line_and_a_status(call, monkeypatch, error, status, message):
    fail(monkeypatch, error)
    assert call("run", "recipe.yaml", "--runs-dir", "my runs") == (status, "", message)


@pytest.mark.parametrize("redo", [("--from", "heads"), ("--from=heads",)])
def test_the_command_that_resumes_is_the_same_redo(call, monkeypatch, redo):
    fail(monkeypatch, Interrupted(signal.SIGINT))
    _, _, errors = call("run", "recipe.yaml", *redo, "--set", "seed=3")
    assert errors == f"stopped by SIGINT; resume with: pruneline run recipe.yaml {' '.join(redo)} --set seed=3\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("arguments", "does", "message"),
    [
        (("run", "recipe.yaml"), "plan", "; resume with: pruneline run recipe.yaml"),
        (("run", "recipe.yaml"), "execute", "; resume with: pruneline run recipe.yaml"),
        (("plan", "recipe.yaml"), "plan", ""),
        (("status",), "status", ""),
        (("evaluate", "somewhere"), "evaluate", ""),
    ],
)
def test_a_signal_before_anything_is_written_stops_at_once(
    call, monkeypatch, tmp_path, arguments, does, message, signum
):
    def signalled(*arguments, **options):
        os.kill(os.getpid(), signum)
        raise AssertionError("the signal was not heeded")

    before = signal.signal(signum, signal.SIG_IGN)
    monkeypatch.setattr(f"pipeline.api.{does}", signalled)
    try:
        assert call(*arguments) == (128 + signum, "", f"stopped by {signal.Signals(signum).name}{message}\n")
    finally:
        signal.signal(signum, before)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_of_many_processes_one_logs_and_prints_and_each_tells_its_own_failure(call, monkeypatch):
    def work(*arguments, **options):
        logging.getLogger("pipeline.runner").info("finetune: runs")
        raise ArtifactError("runs/x is damaged")

    monkeypatch.setattr("pipeline.api.plan", work)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert call("run", "recipe.yaml") == (1, "", "finetune: runs\nruns/x is damaged\n")
    monkeypatch.setenv("RANK", "1")
    assert call("run", "recipe.yaml") == (1, "", "process 1: runs/x is damaged\n")
    fail(monkeypatch, Interrupted(signal.SIGTERM))
    assert call("run", "recipe.yaml") == (143, "", "")
    monkeypatch.setenv("RANK", "0")
    assert call("run", "recipe.yaml") == (143, "", "stopped by SIGTERM; resume with the same command\n")


def test_debug_shows_the_traceback_and_keeps_the_status(call, monkeypatch):
    fail(monkeypatch, RecipeError("seed: wrong"))
    status, _, errors = call("run", "recipe.yaml", "--debug")
    assert status == 2
    assert errors.startswith("Traceback (most recent call last):")
    assert errors.splitlines()[-1] == "seed: wrong"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "Missing argument 'recipe'. See: pruneline run --help"),
        (("run", "recipe.yaml", "--bogus"), "No such option: --bogus See: pruneline run --help"),
        (("walk",), "No such command 'walk'. See: pruneline --help"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(call, arguments, message):
    assert call(*arguments) == (2, "", f"{message}\n")


def test_help_names_the_commands_and_options(call):
    status, output, _ = call("--help")
    assert status == 0
    assert all(
        f"\n  {name} " in output for name in ("run", "plan", "status", "evaluate", "report", "recipes", "schema")
    )
    _, output, _ = call("run", "--help")
    assert all(option in output for option in ("--from", "--until", "--set", "--runs-dir", "--debug"))


def test_a_run_that_holds_what_is_asked_under_another_name_is_told_of(call, monkeypatch):
    monkeypatch.setattr("pipeline.runner.twins.find_twin", lambda plan: Twin(Run(Path("runs/old")), ("finetune",)))
    fail(monkeypatch, ArtifactError("runs/x is damaged"), "execute")
    line = "runs/old holds finetune as this recipe makes it; to take over what is there"
    _, _, errors = call("plan", "recipe.yaml")
    assert errors == f"{line}: cp -r runs/old runs/example\n"
    _, _, errors = call("run", "recipe.yaml")
    again = "rm -r runs/example && cp -r runs/old runs/example"
    assert errors == f"{line}, stop this run and: {again}\nruns/x is damaged\n"
