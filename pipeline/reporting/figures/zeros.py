"""Where the zeros of weights lie: pictures in which a pattern shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from numpy.typing import ArrayLike

from pipeline.reporting.figures.chart import MUTED, WIDTH, Chart, chart, styled

SIZES = LinearSegmentedColormap.from_list("sizes", ("#a9cde4", "#0a70ae", "#06283d"), N=5)
"""From small to large, on paper the darker the larger; more steps could not be told apart in small cells."""
EMPTY = "#ffffff"
"""Behind and between cells; like theirs no colour of the page, so that by night the picture is the same."""
SHORTEST, TALLEST = 1.6, 3.0
"""Inches of a figure at least, for its colour scale to have room, and of a panel at most."""
MOST_LINES = 64
"""Rows or columns up to which a line parts each cell from the next."""


@styled
def zeros_map(weights: Mapping[str, ArrayLike], *, across: int = 4) -> Chart:
    """Return a panel for each weight, ``(rows, columns)``: an empty cell is a zero, the colour of others their size.

    All panels share the scale, which ends at the 99th percentile of what is not zero; titles tell the share of zeros.
    Raises ``ValueError`` for a weight that is no matrix.
    """
    matrices = {name: np.abs(np.asarray(weight, dtype=np.float64)) for name, weight in weights.items()}
    for name, matrix in matrices.items():
        if matrix.ndim != 2 or not matrix.size:
            raise ValueError(f"{name}: must be a matrix, got shape {matrix.shape}; of a convolution flatten the kernel")
    across = min(across, len(matrices))
    lines = -(-len(matrices) // across)
    tallest = max(matrix.shape[0] / matrix.shape[1] for matrix in matrices.values())
    figure = chart(max(SHORTEST, 0.15 + lines * (0.35 + min(TALLEST, tallest * 0.85 * WIDTH / across))))
    norm = Normalize(0.0, _top(matrices))
    panels = list(figure.subplots(lines, across, squeeze=False).flat)
    for axes, (name, matrix) in zip(panels, matrices.items(), strict=False):
        _draw(axes, name, matrix, norm)
    for axes in panels[len(matrices) :]:
        axes.set_axis_off()
    _scale(figure, norm)
    return figure


def _top(matrices: Mapping[str, np.ndarray[Any, Any]]) -> float:
    """Return where the scale ends; 1 where everything is zero."""
    left = np.concatenate([matrix[matrix > 0] for matrix in matrices.values()])
    return float(np.percentile(left, 99)) if len(left) else 1.0


def _draw(axes: Axes, name: str, matrix: np.ndarray[Any, Any], norm: Normalize) -> None:
    left = np.ma.masked_equal(matrix, 0.0)
    axes.set_facecolor(EMPTY)
    axes.imshow(left, cmap=SIZES, norm=norm, interpolation="nearest", aspect="equal", gid=name)
    axes.set_title(f"{name}: {(matrix == 0).mean():.0%} zero")
    axes.grid(visible=False)
    rows, columns = matrix.shape
    if max(rows, columns) <= MOST_LINES:
        axes.set_xticks(np.arange(columns - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(rows - 1) + 0.5, minor=True)
        axes.grid(visible=True, which="minor", color=EMPTY, linewidth=0.4)
    axes.set(xticks=[], yticks=[])
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set(visible=True, color=MUTED, linewidth=0.6)


def _scale(figure: Chart, norm: Normalize) -> None:
    bar = figure.colorbar(ScalarMappable(norm, SIZES), ax=figure.axes, pad=0.015, aspect=22, extend="max")
    bar.set_label("size; empty: zero")
    bar.outline.set_visible(False)
