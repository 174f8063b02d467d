import sys
from types import ModuleType

import pytest

from pipeline.errors import CompressionError
from pipeline.runner import processes


@pytest.fixture
def found(monkeypatch):
    """How many processes accelerate finds; set ``found["count"]``."""
    state = {"count": 2}
    accelerate, utilities = ModuleType("accelerate"), ModuleType("accelerate.utils")
    accelerate.PartialState = lambda cpu: type("State", (), {"num_processes": state["count"]})
    utilities.parse_flag_from_env = lambda name: False
    monkeypatch.setitem(sys.modules, "accelerate", accelerate)
    monkeypatch.setitem(sys.modules, "accelerate.utils", utilities)
    monkeypatch.setenv("WORLD_SIZE", "2")
    return state


def test_only_rank_0_of_many_is_the_main_process(monkeypatch):
    assert processes.is_main()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert not processes.is_main()
    monkeypatch.setenv("RANK", "0")
    assert processes.is_main()


def test_processes_that_do_not_find_each_other_are_refused(found):
    processes.join()
    found["count"] = 1
    with pytest.raises(CompressionError, match="WORLD_SIZE: is 2, but accelerate finds 1 process; start with"):
        processes.join()
