import pytest

from stages.prune_heads.movement import MovementPruner, MovementSettings
from stages.schedules import Span

SPAN = Span(4, 20)


@pytest.fixture
def make_pruner():
    """A function from layers to a pruner of theirs, whose scores move fast, for 24 steps."""

    def make(layers, *, span=SPAN, **settings):
        fast = {"score_learning_rate": 0.2, **settings}
        return MovementPruner(layers, layers.head_groups(), MovementSettings(**fast), span=span, num_steps=24)

    return make
