"""Text that every room writes alike.

>>> times((1, 3, 224, 224))
'1×3×224×224'
"""

from __future__ import annotations

from collections.abc import Iterable

from convsmith.errors import ArgumentError

__all__ = ["read_shape", "times"]

_LONGEST = (1 << 31) - 1
_MOST_AXES = 16
# Of a wrong argument, messages show so much.
_SHOWN = 100


def times(sizes: Iterable[object], sign: str = "×") -> str:
    """Join sizes with ×; no size at all gives ''.

    >>> times((7, 5)), times(f"+{n}" for n in (1, 2)), times(())
    ('7×5', '+1×+2', '')
    """
    return sign.join(map(str, sizes))


def read_shape(text: str, name: str = "") -> tuple[int, ...]:
    """Read a shape as people write it.

    Args:
        text: lengths, with commas, x or × between them.
        name: the option it was given to, for the message.

    Raises:
        ArgumentError: for anything else, and for a length below 1 or beyond 31 bits.

    >>> read_shape("1,3,224,224"), read_shape("1x3x32x32")
    ((1, 3, 224, 224), (1, 3, 32, 32))
    """
    label = f"{name} {text!r}".lstrip()
    try:
        shape = tuple(map(int, text.replace("×", ",").replace("x", ",").split(",")))
    except ValueError:
        raise ArgumentError(
            f"{label[:_SHOWN]} is not a shape: expected, say, 1,3,224,224"
        ) from None
    if len(shape) > _MOST_AXES or max(shape) > _LONGEST:
        raise ArgumentError(
            f"{label[:_SHOWN]}: a shape has at most {_MOST_AXES} lengths, none above {_LONGEST:,}"
        )
    if min(shape) < 1:
        raise ArgumentError(f"{label}: every length must be at least 1")
    return shape
