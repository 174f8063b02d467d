import errno
import resource
import signal
from pathlib import Path

import pytest

from pipeline.artifacts import commit as committing
from pipeline.artifacts.commit import (
    commit,
    discard_candidate,
    needs_recovery,
    new_candidate,
    recover,
    write_file,
    writing,
)
from pipeline.errors import ArtifactError


def put(target, content, *, replaces=None):
    candidate = new_candidate(target)
    (candidate / "model").mkdir()
    (candidate / "model" / "weights").write_text(content)
    commit(candidate, target, b"manifest", replaces=replaces)


def content(target):
    return (target / "model" / "weights").read_text()


def test_commit_moves_the_whole_candidate_into_place(tmp_path):
    target = tmp_path / "01-a"
    put(target, "new")

    assert content(target) == "new"
    assert (target / "manifest.json").read_bytes() == b"manifest"
    assert [path.name for path in tmp_path.iterdir()] == ["01-a"]


def test_redo_replaces_the_old_artifact_wherever_it_was(tmp_path):
    put(tmp_path / "01-a", "old")
    put(tmp_path / "02-a", "new", replaces=tmp_path / "01-a")

    assert [path.name for path in tmp_path.iterdir()] == ["02-a"]
    assert content(tmp_path / "02-a") == "new"


@pytest.fixture
def full_disk():
    """A disk that takes no file of more than 100 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_is_one_line_and_the_old_artifact_stays(tmp_path, full_disk):
    put(tmp_path / "01-a", "old")
    candidate = new_candidate(tmp_path / "01-a")

    with pytest.raises(ArtifactError, match=r"cannot be written \(File too large\)") as error:
        commit(candidate, tmp_path / "01-a", bytes(101), replaces=tmp_path / "01-a")

    assert "\n" not in str(error.value)
    assert content(tmp_path / "01-a") == "old"


def test_refused_rename_puts_the_old_artifact_back(tmp_path, monkeypatch):
    put(tmp_path / "01-a", "old")
    rename = Path.rename

    def refuse(path, target):
        if path.name.startswith(".new."):
            raise OSError(errno.EROFS, "Read-only file system")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ArtifactError, match=r"cannot be written \(Read-only file system\)"):
        put(tmp_path / "01-a", "new", replaces=tmp_path / "01-a")
    assert content(tmp_path / "01-a") == "old"


def test_read_only_folder_is_one_line(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(
        ArtifactError, match=r"cannot be written \(Permission denied\); earlier artifacts are untouched"
    ):
        new_candidate(tmp_path / "01-a")


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ({"01-a": "new", ".old.01-a": "old"}, "new"),
        ({".new.01-a": "new", ".old.01-a": "old"}, "new"),
        ({".old.01-a": "old"}, "old"),
        ({"01-a": "old", ".new.01-a": "half"}, "old"),
        ({".new.01-a": "half"}, None),
    ],
)
def test_recovery_rule(tmp_path, present, expected):
    for name, text in present.items():
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "weights").write_text(text)
    assert needs_recovery(tmp_path)

    recover(tmp_path)

    assert not needs_recovery(tmp_path)
    found = {path.name: content(path) for path in tmp_path.iterdir()}
    assert found == ({} if expected is None else {"01-a": expected})


def test_library_io_error_counts_as_a_refusing_disk(tmp_path):
    class SafetensorError(Exception):
        pass

    with pytest.raises(ArtifactError, match="cannot be written"), writing(tmp_path):
        raise SafetensorError("I/O error: No space left on device (os error 28)")
    with pytest.raises(SafetensorError), writing(tmp_path):
        raise SafetensorError("invalid header")


def test_small_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "recipe.yaml"
    write_file(path, b"old")

    def refuse(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(committing, "_sync", refuse)
    with pytest.raises(ArtifactError):
        write_file(path, b"new")

    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["recipe.yaml"]


def test_kill_while_a_candidate_is_discarded_leaves_no_half_of_it_to_be_committed(tmp_path, monkeypatch):
    target, old = tmp_path / "01-a", tmp_path / ".old.01-a"
    put(target, "old")
    candidate = new_candidate(target)
    (candidate / "weights").write_text("new")
    target.rename(old)

    def dies(folder, **options):
        (folder / "weights").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("shutil.rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            discard_candidate(target)

    assert needs_recovery(tmp_path)
    recover(tmp_path)
    assert content(target) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["01-a"]
