"""The share of zeros in each layer: a row for each kind of layer, coloured and in figures."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from pipeline.reporting.figures.chart import SCORES, WIDTH, Chart, chart, label_layers, styled
from pipeline.reporting.sparse_layers import LayerGrid

MOST_FIGURES = 16
"""Columns up to which each cell tells its share in figures."""
LIGHT, DARK = "#ffffff", "#101418"
"""Figures on dark and on light cells, in a page by day and by night: the cells' colours stay, too."""
LETTER = 0.075
"""Inches that a letter of a kind's name takes."""


@styled
def zeros_grid(grid: LayerGrid) -> Chart:
    """Return a cell for each layer, the lighter the more of it is zero; none where there is no such layer."""
    kinds, numbers = grid.shares.shape
    names = LETTER * max(map(len, grid.kinds))
    figure = chart(max(1.5, 0.75 + 0.3 * kinds), width=min(WIDTH, max(4.2, 1.7 + names + 0.5 * numbers)))
    axes = figure.add_subplot()
    norm = Normalize(0.0, 1.0)
    axes.pcolormesh(np.ma.masked_invalid(grid.shares), cmap=SCORES, norm=norm, edgecolors="none", gid="zeros")
    if numbers <= MOST_FIGURES:
        _figures(axes, grid)
    axes.set(xlim=(0, numbers), ylim=(kinds, 0), xlabel="layer")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    label_layers(axes, grid.numbers)
    axes.set_xticks([place + 0.5 for place in axes.get_xticks()], [text.get_text() for text in axes.get_xticklabels()])
    axes.set_yticks([place + 0.5 for place in range(kinds)], list(grid.kinds))
    bar = figure.colorbar(ScalarMappable(norm, SCORES), ax=axes, pad=0.02, aspect=14, format="{x:.0%}")
    bar.set_label("zero")
    bar.outline.set_visible(False)
    return figure


def _figures(axes: Axes, grid: LayerGrid) -> None:
    for row, column in np.argwhere(np.isfinite(grid.shares)).tolist():
        share = float(grid.shares[row, column])
        color = DARK if share > 0.55 else LIGHT
        axes.text(column + 0.5, row + 0.5, f"{share:.0%}", ha="center", va="center", fontsize=7.5, color=color)
