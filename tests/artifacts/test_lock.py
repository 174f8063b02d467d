import os
import socket
import threading

import pytest

from pipeline.artifacts.lock import RunLock, holder
from pipeline.errors import ArtifactError


def test_second_writer_is_told_who_the_first_is(tmp_path):
    with RunLock(tmp_path):
        with pytest.raises(ArtifactError) as error, RunLock(tmp_path):
            pass
        told = holder(tmp_path)

    assert (told.pid, told.host) == (os.getpid(), socket.gethostname())
    assert f"another process works on this run: {told}; wait for it to end, or stop it" in str(error.value)


def test_lock_is_free_again_after_the_block_and_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), RunLock(tmp_path):
        raise RuntimeError
    assert holder(tmp_path) is None
    with RunLock(tmp_path):
        assert holder(tmp_path) is not None
    assert holder(tmp_path) is None


def test_reader_that_asks_who_works_does_not_keep_a_writer_out(tmp_path):
    with RunLock(tmp_path):
        pass
    stop, asked, taken = threading.Event(), [], 0

    def ask():
        while not stop.is_set():
            asked.append(holder(tmp_path))

    reader = threading.Thread(target=ask)
    reader.start()
    try:
        while taken < 50 or not asked:
            with RunLock(tmp_path):
                taken += 1
    finally:
        stop.set()
        reader.join()
    assert asked


def test_holder_whose_note_is_damaged_still_locks(tmp_path):
    with RunLock(tmp_path):
        (tmp_path / ".lock").write_text("{")
        with pytest.raises(ArtifactError, match="process unknown on an unknown host"), RunLock(tmp_path):
            pass


def test_run_without_a_lock_has_no_holder(tmp_path):
    assert holder(tmp_path) is None
