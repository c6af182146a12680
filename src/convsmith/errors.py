"""One family of errors: whoever catches `ConvsmithError` has caught them all.

A message is one line and names what was passed, what was expected and, where there is one, the
layer's path in the user's own model.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ArgumentError",
    "ConvsmithError",
    "DataError",
    "MissingExtra",
    "ModelError",
    "TraceError",
    "nearest",
]


class ConvsmithError(Exception):
    """Anything that convsmith refuses or cannot do."""


class ArgumentError(ConvsmithError, ValueError):
    """A value that cannot be right: it is named, and so is what was expected."""


class ModelError(ConvsmithError):
    """A model or its weights that cannot be found, read or trusted."""


class TraceError(ConvsmithError):
    """A model that runs but whose graph cannot be captured: the reason and the user's own line."""


class DataError(ConvsmithError):
    """Images that cannot be found or read."""


class MissingExtra(ConvsmithError, ImportError):
    """An optional dependency that is not installed, with the line that installs it.

    >>> str(MissingExtra("drawing GIFs", extra="draw", package="Pillow"))
    "drawing GIFs needs Pillow: pip install 'convsmith[draw]'"
    """

    def __init__(self, purpose: str, *, extra: str, package: str) -> None:
        super().__init__(f"{purpose} needs {package}: pip install 'convsmith[{extra}]'")


def nearest(name: str, known: Iterable[str]) -> str:
    """End a message with the known name closest to a misspelt one, or with nothing.

    >>> nearest("resnet81", ["resnet18", "vgg16"])
    "; did you mean 'resnet18'?"
    >>> nearest("?", ["resnet18"])
    ''
    """
    matches = get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
