"""The one error all sources raise."""


class SourceError(ValueError):
    """A source that cannot be read as a training run; the text says what to do."""
