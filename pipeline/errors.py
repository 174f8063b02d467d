"""What can go wrong for a user; each message says what, the value got, what is allowed, and how to mend it."""


class CompressionError(Exception):
    """Something the user can mend; the command line prints it as one line and exits 1."""


class RecipeError(CompressionError):
    """The recipe, or what was asked of it, is wrong before anything ran; the command line exits 2."""


class DataError(RecipeError):
    """The data set lacks what the recipe says it holds."""


class UnsupportedArchitecture(RecipeError):  # noqa: N818 - reads as the fact it states
    """The model's family has no row in the table of architectures."""


class ArtifactError(CompressionError):
    """A run folder or an artifact is damaged, locked, or cannot be written."""
