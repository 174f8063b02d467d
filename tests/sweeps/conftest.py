import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "runner"))

import dummy_machine


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A model, a task and measurements that need no torch, and an empty folder to sweep in."""
    dummy_machine.install(monkeypatch.setitem)
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_text('{"text": "a", "label": 0}\n')
    (tmp_path / "validation.jsonl").write_text('{"text": "b", "label": 1}\n')
    dummy_machine.CALLS.clear()
    return dummy_machine
