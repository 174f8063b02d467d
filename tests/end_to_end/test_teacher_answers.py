"""What a run does with its teacher's answers: written once for all stages, and gone with the run's last stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.api import run
from pipeline.teaching import cache


def test_the_teacher_answers_once_for_a_run_and_nothing_is_left_at_its_end(
    text_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also for a stage that is redone, and with the whole run another pass; a stage of its own teacher asks that."""
    caplog.set_level("INFO")
    written: list[str] = []
    write = cache.write_answers
    monkeypatch.setattr(
        cache, "write_answers", lambda folder, *rest: written.append(folder.name) or write(folder, *rest)
    )
    text_recipe["stages"] = [
        {"uses": "finetune", "steps": 1},
        {"uses": "distill", "name": "one", "epochs": 1},
        {"uses": "distill", "name": "two", "epochs": 0.5},
        {"uses": "distill", "name": "other", "epochs": 1, "teacher": "one", "hidden_weight": 0.0},
    ]
    begun = run(text_recipe, runs_dir=tmp_path, until="one")
    folder = begun.path / "work" / ".teachers"
    assert [path.name for path in folder.glob("*/*")] == written
    assert len(written) == 1
    assert "one: cache_teacher: true" in caplog.text
    assert "serve 1.6 passes over the rows" in caplog.text

    run(text_recipe, runs_dir=tmp_path)
    assert len(written) == 1
    assert "two: cache_teacher: true (its answers are there)" in caplog.text
    assert "other: cache_teacher: false (the teacher is asked for 1 passes over the rows" in caplog.text
    assert not (begun.path / "work").exists()

    run(text_recipe, runs_dir=tmp_path, from_stage="two", until="two")
    assert len(written) == 2
    assert written[0] == written[1]
