"""What the pages of this room share: their colours, and data within a script."""

from __future__ import annotations

import json

from convsmith.draw.palette import COLOURS

__all__ = ["colours", "literal"]


def colours(theme: str) -> str:
    """The palette as CSS variables, for `auto`, `light` or `dark`."""

    def variables(side: int) -> str:
        return ";".join(f"--{name}:{pair[side]}" for name, pair in COLOURS.items())

    if theme != "auto":
        return f":root{{color-scheme:{theme};{variables(theme == 'dark')}}}\n"
    return (
        f":root{{color-scheme:light dark;{variables(0)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(1)}}}}}\n"
    )


def literal(value: object, *, compact: bool = False) -> str:
    r"""A JavaScript literal that cannot end the script it stands in.

    >>> print(literal("</script>"))
    "\u003c/script>"
    """
    separators = (",", ":") if compact else None
    return json.dumps(value, ensure_ascii=False, separators=separators).replace("<", "\\u003c")
