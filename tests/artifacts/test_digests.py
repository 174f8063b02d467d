import os

import pytest

from pipeline.artifacts import digests
from pipeline.artifacts.digests import DigestCache, file_digest


@pytest.fixture
def reads(monkeypatch):
    """Every file that is really read."""
    read = []
    monkeypatch.setattr(digests, "file_digest", lambda path: read.append(path.name) or file_digest(path))
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    return read


def test_unchanged_file_is_read_once_over_two_processes(tmp_path, reads):
    data = tmp_path / "data.jsonl"
    data.write_bytes(b"one")
    (tmp_path / "run").mkdir()

    cache = DigestCache(tmp_path / "run")
    first = cache.digest(data)
    cache.save()

    assert DigestCache(tmp_path / "run").digest(data) == first == file_digest(data)
    assert reads == ["data.jsonl"]


@pytest.mark.parametrize("change", ["content", "content_with_old_times", "replaced"])
def test_changed_file_is_read_again(tmp_path, reads, change):
    data = tmp_path / "data"
    data.write_bytes(b"one")
    stat = data.stat()
    cache = DigestCache(tmp_path)
    cache.digest(data)
    if change == "replaced":
        (tmp_path / "other").write_bytes(b"two")
        (tmp_path / "other").replace(data)
    else:
        data.write_bytes(b"two")
    if change != "content":
        os.utime(data, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert cache.digest(data) == file_digest(data)
    assert len(reads) == 2


def test_file_changed_this_instant_is_not_remembered(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(digests, "SETTLED_NS", 60 * 10**9)
    (tmp_path / "data").write_bytes(b"one")
    cache = DigestCache(tmp_path)

    cache.digest(tmp_path / "data")
    cache.digest(tmp_path / "data")

    assert len(reads) == 2


def test_renamed_run_folder_keeps_what_it_knew(tmp_path, reads):
    run = tmp_path / "run"
    run.mkdir()
    (run / "weights").write_bytes(b"one")
    cache = DigestCache(run)
    cache.digest(run / "weights")
    cache.save()
    run.rename(tmp_path / "other")

    DigestCache(tmp_path / "other").digest(tmp_path / "other" / "weights")

    assert len(reads) == 1


def test_cache_forgets_files_that_are_gone(tmp_path, reads):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"")
    cache = DigestCache(tmp_path)
    cache.digest(tmp_path / "a")
    cache.digest(tmp_path / "b")
    (tmp_path / "a").unlink()
    cache.save()

    assert b'"a"' not in (tmp_path / ".digests.json").read_bytes()
