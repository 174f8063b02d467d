import json
import os
from types import SimpleNamespace

import pytest
import torch

from pipeline.errors import ArtifactError
from pipeline.training import resume
from pipeline.training.resume import Checkpoints


def checkpoints(folder, **values):
    return Checkpoints(folder, **{"save_seconds": 30, "save_share": 0.03, **values})


TENSORS = {"weights.a": torch.arange(6.0).view(2, 3), "random.b": torch.tensor([1, 2], dtype=torch.uint8)}


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "work" / "training"
    checkpoints(folder).save(TENSORS, {"position": {"step": 3}})
    return folder


def test_a_save_comes_back_as_it_was(saved):
    tensors, document = checkpoints(saved).load()
    assert document == {"position": {"step": 3}}
    assert tensors.keys() == TENSORS.keys()
    assert all(tensors[name].equal(TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in tensors)


def test_without_a_save_there_is_nothing_to_load(tmp_path):
    assert checkpoints(tmp_path / "none").load() is None


def test_the_newest_save_replaces_the_one_before(saved):
    for step in range(4, 15):
        checkpoints(saved).save(TENSORS, {"position": {"step": step}})
    assert [path.name for path in saved.iterdir()] == ["save-000012"]
    assert checkpoints(saved).load()[1] == {"position": {"step": 14}}


def test_views_of_one_memory_are_saved_each(tmp_path):
    whole = torch.arange(8.0)
    shared = {"a": whole, "b": whole, "c": whole[2:4], "d": whole.view(2, 4).t()}
    checkpoints(tmp_path).save(shared, {})
    tensors, _ = checkpoints(tmp_path).load()
    assert all(tensors[name].equal(shared[name]) for name in shared)


@pytest.mark.parametrize("name", [resume.TENSORS, resume.DOCUMENT])
@pytest.mark.parametrize("place", ["first", "middle", "last", "missing", "empty", "longer"])
def test_a_damaged_save_is_refused_by_name_with_the_way_out(saved, name, place):
    path = saved / "save-000001" / name
    data = bytearray(path.read_bytes())
    if place == "missing":
        path.unlink()
    elif place == "empty":
        path.write_bytes(b"")
    elif place == "longer":
        path.write_bytes(bytes(data) + b"}")
    else:
        data[{"first": 0, "middle": len(data) // 2, "last": -1}[place]] ^= 1
        path.write_bytes(bytes(data))
    with pytest.raises(ArtifactError) as error:
        checkpoints(saved).load()
    message = str(error.value)
    assert str(path) in message
    assert f"delete {saved} to start this stage over" in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["[]", "3", "null", '{"check": 1}', "\xff"])
def test_json_that_is_no_document_is_refused(saved, text):
    (saved / "save-000001" / resume.DOCUMENT).write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match=r"state\.json"):
        checkpoints(saved).load()


def test_a_format_of_another_version_is_refused(saved, monkeypatch):
    monkeypatch.setattr(resume, "FORMAT", 2)
    with pytest.raises(ArtifactError, match="format 1, this version reads 2"):
        checkpoints(saved).load()


@pytest.mark.parametrize("effect", ["save_file", "_sync", "rename"])
def test_a_save_that_dies_half_way_leaves_the_one_before(saved, monkeypatch, effect):
    def dies(*arguments, **values):
        raise KeyboardInterrupt

    owner = {"rename": resume.Path}.get(effect, resume)
    monkeypatch.setattr(owner, effect, dies)
    with pytest.raises(KeyboardInterrupt):
        checkpoints(saved).save(TENSORS, {"position": {"step": 4}})
    monkeypatch.undo()
    assert checkpoints(saved).load()[1] == {"position": {"step": 3}}
    checkpoints(saved).save(TENSORS, {"position": {"step": 5}})
    assert checkpoints(saved).load()[1] == {"position": {"step": 5}}
    assert len(list(saved.iterdir())) == 1


def test_a_kill_before_the_old_save_is_gone_leaves_the_new_one(saved, monkeypatch):
    def dies(*arguments, **values):
        raise KeyboardInterrupt

    monkeypatch.setattr(resume.shutil, "rmtree", dies)
    with pytest.raises(KeyboardInterrupt):
        checkpoints(saved).save(TENSORS, {"position": {"step": 4}})
    monkeypatch.undo()
    assert len(list(saved.iterdir())) == 2
    assert checkpoints(saved).load()[1] == {"position": {"step": 4}}


def test_a_full_disk_is_one_clear_line_and_the_save_before_stays(saved, monkeypatch):
    def full(*arguments, **values):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(resume, "save_file", full)
    with pytest.raises(ArtifactError, match=r"No space left on device") as error:
        checkpoints(saved).save(TENSORS, {"position": {"step": 4}})
    assert str(saved) in str(error.value)
    assert checkpoints(saved).load()[1] == {"position": {"step": 3}}


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(resume.time, "monotonic", lambda: clock.now)
    return clock


def take(clock, monkeypatch, seconds):
    def slow(*arguments):
        clock.now += seconds

    monkeypatch.setattr(Checkpoints, "_write", slow)


@pytest.mark.parametrize(("took", "interval"), [(0.1, 30.0), (0.9, 30.0), (3.0, 100.0)])
def test_a_save_waits_for_its_seconds_or_until_its_share_of_the_time_is_small(
    tmp_path, clock, monkeypatch, took, interval
):
    saves = checkpoints(tmp_path)
    take(clock, monkeypatch, took)
    saves.save(TENSORS, {})
    assert saves.seconds_until_due(0) == pytest.approx(interval)
    clock.now += interval - 0.01
    assert saves.seconds_until_due(0) > 0
    clock.now += 0.02
    assert saves.seconds_until_due(0) <= 0


def test_saves_take_at_most_their_share_of_the_time(tmp_path, clock, monkeypatch):
    saves, count = checkpoints(tmp_path, save_seconds=5), 0
    take(clock, monkeypatch, 2.0)
    while clock.now < 100 + 3600:
        clock.now += 0.5
        if saves.seconds_until_due(size_bytes=10**9) <= 0:
            saves.save(TENSORS, {})
            count += 1
    assert 0.025 < count * 2.0 / 3600 <= 0.03


def test_the_first_save_is_estimated_from_its_size(tmp_path, clock):
    saves = checkpoints(tmp_path)
    assert saves.seconds_until_due(0) == 30.0
    assert saves.seconds_until_due(int(2 * resume.ASSUMED_BYTES_PER_SECOND)) == pytest.approx(2 / 0.03)


def test_a_save_without_tensors_comes_back_and_does_not_make_the_next_look_cheap(tmp_path, clock):
    saves = checkpoints(tmp_path)
    saves.save({}, {"position": {"step": 0}})
    assert saves.load() == ({}, {"position": {"step": 0}})
    assert saves.seconds_until_due(int(2 * resume.ASSUMED_BYTES_PER_SECOND)) == pytest.approx(2 / 0.03)


def test_a_save_is_cheap_where_it_keeps_its_share_though_it_is_not_due(tmp_path, clock, monkeypatch):
    saves = checkpoints(tmp_path)
    take(clock, monkeypatch, 0.3)
    saves.save(TENSORS, {})
    clock.now += 9.9
    assert not saves.is_cheap(0)
    clock.now += 0.2
    assert saves.is_cheap(0)
    assert saves.seconds_until_due(0) > 0


def test_nothing_but_safetensors_and_json_is_written(saved):
    assert sorted(path.name for path in (saved / "save-000001").iterdir()) == ["state.json", "state.safetensors"]
    json.loads((saved / "save-000001" / "state.json").read_text())
