"""The map of units kept: a row for each layer, a cell for each unit, coloured by its score."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from pipeline.reporting.decisions import GONE, KEPT, REMOVED, UnitMap
from pipeline.reporting.figures.chart import MUTED, SCORES, WIDTH, Chart, chart, label_layers, styled

WHOLE, PART = 0.88, 0.34
"""The side of a cell whose unit is kept, and of one whose unit was removed."""
MARKERS = {
    "kept": {"marker": "s", "markersize": 9, "color": MUTED},
    "removed": {"marker": "s", "markersize": 4, "color": MUTED},
    "gone before": {"marker": "x", "markersize": 5, "color": MUTED},
}


@styled
def heads_map(units: UnitMap) -> Chart:
    """Return the map: kept units fill their cell, removed ones are small, a cross marks those gone before the stage.

    The collections of the axes are labelled ``kept`` and ``removed``; their arrays are the scores of the units, layer
    by layer. Layers run along x where there are more of them than units in a layer.
    """
    num_layers, num_units = units.states.shape
    across = num_layers > num_units
    columns, rows = (num_layers, num_units) if across else (num_units, num_layers)
    figure = chart(min(7.0, max(2.2, 0.95 + 0.34 * rows)), width=min(WIDTH, max(4.2, 1.9 + 0.42 * columns)))
    axes = figure.add_subplot()
    known = units.scores[np.isfinite(units.scores)]
    norm = Normalize(known.min(), known.max()) if len(known) else Normalize(0, 1)
    for label, state, side in (("kept", KEPT, WHOLE), ("removed", REMOVED, PART)):
        axes.add_collection(_cells(units, state, side, label, norm, across))
    gone = _places(np.argwhere(units.states == GONE), across)
    axes.plot(gone[:, 0], gone[:, 1], ls="", marker="x", ms=5, color=MUTED, gid="gone")
    _frame(axes, units, across)
    if len(known):
        bar = figure.colorbar(
            ScalarMappable(norm, SCORES), ax=axes, pad=0.02, aspect=14, shrink=min(1.0, 2.4 / rows + 0.4)
        )
        bar.set_label(units.measure)
        bar.outline.set_visible(False)
    return figure


def _cells(units: UnitMap, state: int, side: float, label: str, norm: Normalize, across: bool) -> PatchCollection:
    where = np.argwhere(units.states == state)
    squares = [Rectangle((x - side / 2, y - side / 2), side, side) for x, y in _places(where, across)]
    cells = PatchCollection(squares, cmap=SCORES, norm=norm, label=label, linewidths=0.5, edgecolors=MUTED)
    scores = units.scores[units.states == state]
    if np.isfinite(scores).all():
        cells.set_array(scores)
    else:
        cells.set_facecolor(MUTED)
    return cells


def _places(
    where: np.ndarray[tuple[int, ...], np.dtype[np.int64]], across: bool
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the x and y of cells given as layer and unit, ``(cells, 2)``."""
    return where if across else where[:, ::-1]


def _frame(axes: Axes, units: UnitMap, across: bool) -> None:
    num_layers, num_units = units.states.shape
    columns, rows = (num_layers, num_units) if across else (num_units, num_layers)
    axes.set(xlim=(-0.6, columns - 0.4), ylim=(rows - 0.4, -0.6), aspect="equal", anchor="W")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    unit = units.kind.removesuffix("s")
    step = max(1, (rows if across else columns) // 16)
    numbers = list(range(0, num_units, step))
    if across:
        label_layers(axes, units.layers)
        axes.set_yticks(numbers, [str(number) for number in numbers])
        axes.set(xlabel="layer", ylabel=unit)
    else:
        axes.set_xticks(numbers, [str(number) for number in numbers])
        axes.set_yticks(range(num_layers), list(units.layers))
        axes.set(xlabel=unit, ylabel="layer")
    shown = [name for name in MARKERS if name != "gone before" or (units.states == GONE).any()]
    handles = [Line2D([], [], ls="", label=name, **MARKERS[name]) for name in shown]  # type: ignore[arg-type]
    axes.figure.legend(handles=handles, loc="outside upper left", ncols=3, borderaxespad=0.3, handletextpad=0.2)
