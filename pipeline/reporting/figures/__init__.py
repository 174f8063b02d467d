"""Figures of a run: functions that return a matplotlib figure, the same ones for the page and for notebooks."""
