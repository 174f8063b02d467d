"""Rows of text and images: from the hub, from local files, or generated."""
