"""One family of errors: catching `ConvsmithError` catches them all.

A message is one line and names what was passed, what was expected and, where there is one, the
layer's path in the user's own model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ArgumentError",
    "ConvsmithError",
    "DataError",
    "MissingExtra",
    "ModelError",
    "TraceError",
    "first_line",
    "kind_and_line",
    "last_line",
    "message_lines",
    "nearest",
    "no_file",
]


class ConvsmithError(Exception):
    r"""Anything that convsmith refuses or cannot do.

    The lines of a message are joined: what was passed may be shown by several.

    >>> str(ConvsmithError("size must be an integer, not Net(\n  (0): ReLU()\n)"))
    'size must be an integer, not Net( (0): ReLU() )'
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(_joined(arg) if isinstance(arg, str) else arg for arg in args))


class ArgumentError(ConvsmithError, ValueError):
    """An argument that cannot be right; the message names it and what was expected."""


class ModelError(ConvsmithError):
    """A model, or weights, that cannot be found, read or trusted."""


class TraceError(ConvsmithError):
    """A model whose graph cannot be captured; the message gives the reason and the user's line."""


class DataError(ConvsmithError):
    """Images that cannot be found or read."""


class MissingExtra(ConvsmithError, ImportError):
    """An optional dependency that is not installed; the message gives the line that installs it.

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
    from difflib import get_close_matches  # only errors need it: start-up does without

    matches = get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def no_file(path: str | Path, pattern: str = "*") -> str:
    """Say that a file is missing, and name the one beside it that was perhaps meant.

    Args:
        path: the file, as the user named it.
        pattern: which files of its folder can be meant.

    >>> no_file("/nowhere/weights.pth")
    "there is no file '/nowhere/weights.pth'"
    """
    from pathlib import Path

    file = Path(path)
    try:
        beside = [other.name for other in file.parent.glob(pattern)]
    except OSError:  # a folder that may not be read
        beside = []
    return f"there is no file {str(path)!r}{nearest(file.name, beside)}"


def first_line(error: BaseException | str | None) -> str:
    r"""Return the first line of a message; of an error without one, its kind; else ''.

    >>> first_line(ValueError("\n  no such size\n(in conv1)")), first_line(AssertionError())
    ('no such size', 'AssertionError')
    """
    return next(iter(message_lines(error)), "")


def last_line(error: BaseException | str | None) -> str:
    r"""Return the last line of a message, where programs put the reason; else as `first_line`.

    >>> last_line("Traceback:\n  …\nValueError: no such size\n")
    'ValueError: no such size'
    """
    return next(reversed(message_lines(error)), "")


def kind_and_line(error: BaseException) -> str:
    """Return the kind of an error and its first line.

    >>> kind_and_line(ValueError("no such size")), kind_and_line(AssertionError())
    ('ValueError: no such size', 'AssertionError')
    """
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def _joined(text: str) -> str:
    lines = text.splitlines()
    return text if len(lines) < 2 else " ".join(line.strip() for line in lines if line.strip())


def message_lines(error: BaseException | str | None) -> list[str]:
    r"""Return the lines of a message that are not empty; of an error without any, its kind.

    >>> message_lines("Errors:\n\n  no such size\n"), message_lines(AssertionError())
    (['Errors:', 'no such size'], ['AssertionError'])
    """
    message = "" if error is None else str(error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    kind = [type(error).__name__] if isinstance(error, BaseException) else []
    return lines or kind
