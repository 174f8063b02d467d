"""How figures look, and how they become SVG that stands in a page: no reference outside it, light and dark."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1c1f24", "#667080", "#d5d9e0", "#fdfdfe"
KEPT, REMOVED = "#0072b2", "#d55e00"
SERIES = (KEPT, REMOVED, "#008f68", "#b04f86", "#8c6d00", "#5a62c8")
"""Told apart by the colour-blind, after Okabe and Ito; every figure also tells them apart by line, size or place."""
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"} | {
    color: f"series-{number}" for number, color in enumerate(SERIES, start=1)
}
"""The page's own variable for each colour, which is another one in the dark."""
SCORES = "cividis"
"""Even in lightness, and the same to every eye."""
DASHES = ("-", "--", ":", "-.")
WIDTH = 9.0
PIXELS_PER_INCH = 112
"""Of a figure in a page, where its letters are then as large as the small print around it."""
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.unicode_minus": True,
    "figure.facecolor": PAPER,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
    "svg.hashsalt": "pruneline",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
}
styled = matplotlib.rc_context(STYLE)
"""A decorator of figure functions: what they draw looks like ours, and nobody's settings change."""


class Chart(Figure):
    """A figure that a notebook shows as it is, whether or not ``matplotlib.pyplot`` was imported."""

    def _repr_svg_(self) -> str:
        return svg_document(self)


def chart(height: float, *, width: float = WIDTH) -> Chart:
    """Return an empty figure of that size in inches; it knows no ``pyplot`` and needs no closing."""
    return Chart(figsize=(width, height), layout="constrained")


def svg_document(figure: Figure) -> str:
    """Return the figure as a whole SVG file, the same text each time."""
    with matplotlib.rc_context(STYLE):
        file = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", metadata=nothing)
    return file.getvalue()


def inline_svg(figure: Figure, label: str) -> str:
    """Return the figure as an element of a page: its colours are the page's variables, its letters the page's font."""
    element = re.sub(r"(?s)<metadata>.*?</metadata>", "", svg_document(figure))
    element = element[element.index("<svg") :]
    element = re.sub(r' xmlns(:xlink)?="[^"]*"', "", element)
    element = re.sub(r"font: [\d. ]*?([\d.]+px) [^;\"]*", r"font-size: \1", element)
    element = re.sub(r"font-family: [^;\"]*;? ?", "", element)
    for color, name in VARIABLES.items():
        element = element.replace(color, f"var(--{name})")
    width = round(figure.get_figwidth() * PIXELS_PER_INCH)
    head = f'<svg role="img" aria-label="{html.escape(label)}" width="{width}"'
    element = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', lambda found: f"{head} {found[1]}>", element, count=1)
    return re.sub(r"\n\s*", "\n", element).strip()


def thinned(values: Sequence[Any] | np.ndarray[Any, Any], most: int = 160) -> np.ndarray[Any, Any]:
    """Return at most ``most`` places in ``values``, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, max(0, len(values) - 1), min(most, len(values))).round().astype(int))


def place_legend(axes: Axes) -> None:
    """Put the legend above the axes, in the room of a title; however wide it is, it takes none from the axes."""
    axes.set_title(" ")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, borderaxespad=0.2).set_in_layout(False)


def label_layers(axes: Axes, names: Sequence[str], *, most: int = 24) -> None:
    """Name layers along x, leaving some out where they would run into each other."""
    step = -(-len(names) // most)
    places = range(0, len(names), step)
    axes.set_xticks(list(places), [names[place] for place in places])
