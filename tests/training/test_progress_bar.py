import io

import pytest

from pipeline.training import progress_bar
from pipeline.training.progress_bar import ProgressBar


class NotebookStream(io.StringIO):
    """What a notebook puts in the place of standard error: no terminal, and of ipykernel."""

    __module__ = "ipykernel.iostream"


def test_in_a_notebook_there_is_a_bar_that_is_seldom_redrawn(monkeypatch):
    monkeypatch.setattr("sys.stderr", stderr := NotebookStream())
    with ProgressBar("cut", total=1000, done=0, shown=True) as bar:
        for step in range(1, 1001):
            bar.show(loss=0.5, accuracy=0.9)
            bar.step(step)
    told = stderr.getvalue()
    assert "cut: 100%" in told
    assert "loss 0.5, accuracy 0.9" in told
    assert told.count("\r") < 10


def test_in_a_log_file_there_is_no_bar(caplog, monkeypatch):
    monkeypatch.setattr("sys.stderr", stderr := io.StringIO())
    monkeypatch.setattr(progress_bar, "LINE_SECONDS", 1000.0)
    with caplog.at_level("INFO"), ProgressBar("cut", total=10, done=0, shown=True) as bar:
        for step in range(1, 11):
            bar.step(step)
    assert stderr.getvalue() == ""
    assert caplog.records == []


@pytest.mark.parametrize("stream", [NotebookStream, io.StringIO])
def test_a_bar_that_is_not_to_be_shown_is_silent(stream, monkeypatch, caplog):
    monkeypatch.setattr("sys.stderr", stderr := stream())
    monkeypatch.setattr(progress_bar, "LINE_SECONDS", 0.0)
    with caplog.at_level("INFO"), ProgressBar("cut", total=10, done=0, shown=False) as bar:
        bar.show(loss=1.0)
        bar.step(10)
    assert stderr.getvalue() == ""
    assert caplog.records == []
