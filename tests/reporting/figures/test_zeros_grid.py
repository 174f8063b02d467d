"""The grid of zeros by its values: each cell has its layer's share."""

import math

import numpy as np

from pipeline.reporting.figures.zeros_grid import MOST_FIGURES, zeros_grid
from pipeline.reporting.sparse_layers import LayerGrid

SHARES = np.array([[0.25, 0.9, math.nan], [0.5, 0.804, 0.0]])


def grid(shares):
    kinds, numbers = (tuple(map(str, range(length))) for length in shares.shape)
    return LayerGrid(tuple(f"kind {kind}" for kind in kinds), numbers, shares, ((""),) * len(kinds))


def test_every_cell_has_its_layers_share_and_none_stands_where_there_is_no_layer():
    axes, bar = zeros_grid(grid(SHARES)).axes
    (cells,) = axes.collections
    shown = cells.get_array().reshape(SHARES.shape)
    np.testing.assert_array_equal(shown.mask, np.isnan(SHARES))
    np.testing.assert_array_equal(shown.compressed(), SHARES[~np.isnan(SHARES)])
    assert cells.get_clim() == (0.0, 1.0)
    assert bar.get_ylabel() == "zero"


def test_each_cell_tells_its_share_in_figures_where_there_is_room():
    axes = zeros_grid(grid(SHARES)).axes[0]
    told = {text.get_position(): text.get_text() for text in axes.texts}
    assert told == {(0.5, 0.5): "25%", (1.5, 0.5): "90%", (0.5, 1.5): "50%", (1.5, 1.5): "80%", (2.5, 1.5): "0%"}
    assert not zeros_grid(grid(np.zeros((1, MOST_FIGURES + 1)))).axes[0].texts


def test_rows_and_columns_are_named_in_the_middle_of_their_cells():
    axes = zeros_grid(grid(SHARES)).axes[0]
    assert axes.get_ylim() == (2.0, 0.0)
    for axis, names in ((axes.yaxis, ["kind 0", "kind 1"]), (axes.xaxis, ["0", "1", "2"])):
        assert [text.get_text() for text in axis.get_ticklabels()] == names
        assert axis.get_ticklocs().tolist() == [place + 0.5 for place in range(len(names))]
