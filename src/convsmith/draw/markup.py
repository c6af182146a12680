"""What the pages of this room share: their colours, and data within a script."""

from __future__ import annotations

import json

from convsmith.draw.palette import COLOURS

__all__ = ["colours", "literal", "page_colours"]


def colours(selector: str, theme: str, *, first: str = "", end: str = "") -> str:
    """The palette as CSS variables, for `auto`, `light` or `dark`.

    Args:
        selector: of what they are for.
        theme: `auto` is the reader's.
        first: a declaration before them.
        end: what stands after each rule.
    """

    def rule(side: int, before: str = "") -> str:
        variables = (f"--{name}:{pair[side]}" for name, pair in COLOURS.items())
        return f"{selector}{{{before}{';'.join(variables)}}}"

    if theme != "auto":
        return f"{rule(theme == 'dark', first)}{end}"
    dark = f"@media screen and (prefers-color-scheme:dark){{{rule(1)}}}"
    return f"{rule(0, first)}{end}{dark}{end}"


def page_colours(theme: str) -> str:
    """Those of a whole page, with the browser's own colours to match."""
    schemes = "light dark" if theme == "auto" else theme
    return colours(":root", theme, first=f"color-scheme:{schemes};", end="\n")


def literal(value: object, *, compact: bool = False) -> str:
    r"""A JavaScript literal that cannot end the script it stands in.

    >>> print(literal("</script>"))
    "\u003c/script>"
    """
    separators = (",", ":") if compact else None
    return json.dumps(value, ensure_ascii=False, separators=separators).replace("<", "\\u003c")
