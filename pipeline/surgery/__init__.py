"""Cutting heads and channels out of a model; import from the files, so that a keep plan can be read without torch."""
