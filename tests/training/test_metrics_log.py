import errno
import json
import os
from pathlib import Path

import pytest

from pipeline.errors import ArtifactError
from pipeline.training.metrics_log import MetricsLog


def test_each_call_is_one_line_of_json(tmp_path):
    log = MetricsLog(tmp_path / "new" / "metrics.jsonl")
    log(1, loss=0.5)
    log(2, loss=float("nan"), name="x", heads=3)
    assert log.lines() == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None, "name": "x", "heads": 3}]
    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [1, 2]


def test_a_log_is_cut_back_to_a_position(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.position() == 0
    log(1)
    position = log.position()
    log(1, after="the same step")
    log.rewind(position)
    assert log.lines() == [{"step": 1}]
    log.rewind(10_000)
    assert log.lines() == [{"step": 1}]


def test_a_log_is_cut_back_to_a_step(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.truncate(0)
    for step in (0, 1, 2, 3):
        log(step)
    log.truncate(2)
    assert [line["step"] for line in log.lines()] == [0, 1, 2]


def test_half_a_line_left_by_a_kill_is_not_read_and_is_cut_off(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log(1)
    with log.path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert log.lines() == [{"step": 1}]
    log.truncate(5)
    log(2)
    assert log.lines() == [{"step": 1}, {"step": 2}]


def test_a_process_that_does_not_write_leaves_the_file_alone(tmp_path):
    main = MetricsLog(tmp_path / "metrics.jsonl")
    main(5)
    other = MetricsLog(main.path, writes=False)
    other(6)
    other.truncate(0)
    other.rewind(0)
    assert main.lines() == [{"step": 5}]


def test_a_full_disk_is_told_in_one_line(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.path.symlink_to("/dev/full")
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl: cannot be written \(No space left on device\); earlier"):
        log(1, loss=0.5)


@pytest.mark.parametrize("act", [MetricsLog.position, lambda log: log.rewind(3), lambda log: log.truncate(0)])
def test_a_log_that_cannot_be_kept_in_step_with_a_save_is_told_in_one_line(tmp_path, monkeypatch, act):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log(1, loss=0.5)

    def refuse(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: refuse() if mode == "r+b" else opened(path, mode))
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl: cannot be written \(Input/output error\)"):
        act(log)
