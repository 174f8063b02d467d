"""The command line, stopped by a signal and by a kill, goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


def start(recipe: Path, runs_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline", "run", str(recipe), "--runs-dir", str(runs_dir)]
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


@pytest.fixture
def recipe(text_recipe: dict[str, Any], tmp_path: Path) -> Path:
    text_recipe["stages"] = [{"uses": "finetune", "epochs": 12}]
    text_recipe["training"] |= {"save_seconds": 0, "save_share": 1e9}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(text_recipe))
    return path


def final_digest(runs_dir: Path) -> str:
    return hashlib.sha256((runs_dir / "tiny/01-finetune/model/model.safetensors").read_bytes()).hexdigest()


def test_signals_save_and_say_how_to_resume_and_kills_lose_nothing_that_was_saved(recipe: Path, tmp_path: Path) -> None:
    assert finish(start(recipe, tmp_path / "whole")) == 0

    stopped = tmp_path / "stopped"
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process = start(recipe, stopped)
        saves = "tiny/work/finetune/**/save-*"
        wait_for(stopped, saves, process)
        before = {path.name for path in stopped.glob(saves)}
        while {path.name for path in stopped.glob(saves)} & before and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signum)
        _, errors = process.communicate(timeout=120)
        if signum == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 128 + signum
            assert f"pruneline run {recipe}" in errors
            assert "Traceback" not in errors
        assert list(stopped.glob(saves))
        assert not list(stopped.glob("tiny/01-finetune"))

    assert finish(start(recipe, stopped)) == 0
    assert final_digest(stopped) == final_digest(tmp_path / "whole")
    steps = [json.loads(line)["step"] for line in (stopped / "tiny/01-finetune/metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
