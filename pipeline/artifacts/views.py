"""How runs and artifacts show themselves to people: figures, a table to compute with, and HTML for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from pipeline.artifacts.run import Artifact, Run


class RunViews:
    """What a run offers a notebook; pandas and matplotlib are imported when they are asked for."""

    def compare(self) -> DataFrame:
        """Return a row per stage: what it used, every metric, seconds, and the heads and channels left in all."""
        from pipeline.reporting.notebook import compare

        return compare(cast("Run", self))

    def plot_heads(self, stage: str | None = None) -> Figure:
        """Return the map of heads kept and removed by ``stage``, by default by the last stage that cut heads."""
        from pipeline.reporting.gallery import plot_heads

        return plot_heads(cast("Run", self), stage)

    def plot_widths(self) -> Figure:
        """Return heads and channels left in each layer."""
        from pipeline.reporting.gallery import plot_widths

        return plot_widths(cast("Run", self))

    def plot_scores(self, stage: str) -> Figure:
        """Return the scores or importances that ``stage`` chose by."""
        from pipeline.reporting.gallery import plot_scores

        return plot_scores(cast("Run", self), stage)

    def plot_sparsity(self, stage: str | None = None) -> Figure:
        """Return the share of zeros over the steps of ``stage``, by default the last that touched single weights."""
        from pipeline.reporting.gallery import plot_sparsity

        return plot_sparsity(cast("Run", self), stage)

    def plot_zeros(self, stage: str | None = None) -> Figure:
        """Return the share of zeros in each layer after ``stage``, by default the last that touched single weights."""
        from pipeline.reporting.gallery import plot_zeros

        return plot_zeros(cast("Run", self), stage)

    def plot_weights(self, stage: str | None = None) -> Figure:
        """Return corners of weights close up after ``stage``, by default the last that touched single weights."""
        from pipeline.reporting.gallery import plot_weights

        return plot_weights(cast("Run", self), stage)

    def _repr_html_(self) -> str:
        from pipeline.reporting.notebook import run_html

        return run_html(cast("Run", self))


class ArtifactViews:
    """What an artifact offers a notebook."""

    def _repr_html_(self) -> str:
        from pipeline.reporting.notebook import artifact_html

        return artifact_html(cast("Artifact", self))
