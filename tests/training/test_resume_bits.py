import pytest

from pipeline.interruption import Interrupted
from pipeline.training import half_done

STEPS = 15


def resumed(bench, stops, **values):
    for stop in stops:
        with pytest.raises(Interrupted):
            bench.run(stop_after=stop, **values)
    return bench.run(**values)


@pytest.mark.parametrize("stops", [[1], [4], [5], [7], [14], [1, 1, 2, 3]])
@pytest.mark.parametrize("pruner", [False, True])
def test_a_stopped_and_resumed_training_ends_in_the_same_bits(benches, stops, pruner):
    whole = benches("whole").run(pruner=pruner)
    again = resumed(benches("again"), stops, pruner=pruner)
    assert whole.training.steps == again.training.steps == STEPS
    assert again.sha256 == whole.sha256
    assert again.log == whole.log
