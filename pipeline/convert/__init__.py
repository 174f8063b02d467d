"""From the pruning files of older tools to recipes: a file for each form, and one for the way through them."""

from pipeline.convert.conversion import Conversion, convert

__all__ = ["Conversion", "convert"]
