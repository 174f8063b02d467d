"""Least-squares repair: what a cut takes from a consumer's output, its kept columns are refitted to give back."""

from stages.repair.config import RepairConfig

__all__ = ["RepairConfig"]
