"""The command line, stopped by a signal and by a kill, goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

STAGES = ("finetune", "prune_heads")


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def wait_for(path: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list(path.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def finish(process: subprocess.Popen[str]) -> int:
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, output + errors
    return process.returncode


def stop(process: subprocess.Popen[str], signum: int, saves: str, runs_dir: Path) -> str:
    """Send the signal once the process has saved something itself, and return what it said on standard error."""
    wait_for(runs_dir, saves, process)
    before = {path.name for path in runs_dir.glob(saves)}
    while {path.name for path in runs_dir.glob(saves)} & before and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=120)
    return errors


def resume_arguments(errors: str) -> list[str]:
    """Return the arguments of the command that one line says to resume with."""
    (line,) = (line for line in errors.splitlines() if "resume with: " in line)
    program, *arguments = shlex.split(line.partition("resume with: ")[2])
    assert program == "pruneline"
    return arguments


@pytest.fixture
def recipe(text_recipe: dict[str, Any], tmp_path: Path) -> Path:
    text_recipe["stages"] = [{**s, "epochs": 6} for s in text_recipe["stages"] if s["uses"] in STAGES]
    text_recipe["training"] |= {"save_seconds": 0, "save_share": 1e9}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(text_recipe))
    return path


def test_signals_save_and_say_how_to_resume_and_kills_lose_nothing_that_was_saved(recipe: Path, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert finish(start(["run", str(recipe), "--runs-dir", str(whole)])) == 0

    arguments = ["run", str(recipe), "--runs-dir", str(stopped)]
    for stage, signum in (
        ("finetune", signal.SIGINT),
        ("prune_heads", signal.SIGTERM),
        ("prune_heads", signal.SIGKILL),
    ):
        process, saves = start(arguments), f"tiny/work/{stage}/**/save-*"
        errors = stop(process, signum, saves, stopped)
        if signum == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 128 + signum
            assert "Traceback" not in errors
            arguments = resume_arguments(errors)
            assert arguments[-2:] == ["--runs-dir", str(stopped)]
        assert list(stopped.glob(saves))
        assert not list(stopped.glob(f"tiny/??-{stage}"))

    assert finish(start(arguments)) == 0
    for artifact in ("01-finetune", "02-prune_heads"):
        model, log = Path("tiny", artifact, "model/model.safetensors"), Path("tiny", artifact, "metrics.jsonl")
        digests = [hashlib.sha256((runs_dir / model).read_bytes()).hexdigest() for runs_dir in (whole, stopped)]
        assert digests[0] == digests[1]
        assert (stopped / log).read_text() == (whole / log).read_text()
