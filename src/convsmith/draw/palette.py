"""What each kind of shape looks like: colours for light and dark, and a form besides the colour.

The hues are those of Okabe and Ito, which people who see fewer colours can tell apart; every kind
has an outline, a dash or a hatching of its own as well, so that the drawing still works in grey.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COLOURS", "STYLES", "THEMES", "Style"]

THEMES = ("auto", "light", "dark")

# name: (light, dark)
COLOURS = {
    "paper": ("#ffffff", "#14171a"),
    "ink": ("#1c2024", "#e8eaed"),
    "muted": ("#59616a", "#a2aab2"),
    "faint": ("#c3c9cf", "#48515a"),
    "blue": ("#0072b2", "#56b4e9"),
    "blue-wash": ("#e2eef7", "#152a38"),
    "orange": ("#c65200", "#f0a12b"),
    "orange-wash": ("#fbeadc", "#3a2a14"),
    "green": ("#007f5f", "#2fc79b"),
    "green-wash": ("#dcf2ea", "#12332a"),
    "pink": ("#a8437d", "#e08fbd"),
    "pink-wash": ("#f6e6ef", "#392433"),
    "gold": ("#8a6d00", "#e0c94a"),
    "gold-wash": ("#f8f1cf", "#35300f"),
}


@dataclass(frozen=True, slots=True)
class Style:
    """Names of colours, and a line's width and dash; `wash` is the opacity of the filling."""

    fill: str | None = None
    stroke: str | None = None
    width: float = 1.0
    dash: tuple[float, ...] = ()
    wash: float = 1.0
    bold: bool = False


STYLES = {
    "paper": Style(fill="paper"),
    # Cells at rest
    "input": Style("blue-wash", "blue", 0.75),
    "kernel": Style("orange-wash", "orange", 0.75),
    "output": Style("green-wash", "green", 0.75),
    "partial": Style("pink-wash", "pink", 0.75),
    "tone0": Style("blue-wash", "blue", 0.75),
    "tone1": Style("gold-wash", "gold", 0.75),
    "tone2": Style("pink-wash", "pink", 0.75),
    "tone3": Style("green-wash", "green", 0.75),
    "padding": Style("paper", "muted", 0.75, (3, 2.5)),
    "gap": Style("paper", "faint", 0.75, (1.5, 2)),
    "cropped": Style("paper", "muted", 0.75, (3, 2.5)),
    "extra": Style("paper", "green", 1.0, (6, 2)),
    "zero": Style("paper", "muted", 0.6),
    "blank": Style("paper", "muted", 0.75),
    "hole": Style("paper", "muted", 0.75),
    "outside": Style("paper", "muted", 0.5, (1, 3)),
    "hatch": Style(None, "muted", 0.9),
    # What an image is covered with, where it counts less
    "veil": Style("paper", "muted", wash=0.6),
    "veil1": Style("paper", wash=0.2),
    "veil2": Style("paper", wash=0.36),
    "veil3": Style("paper", wash=0.52),
    "veil4": Style("paper", wash=0.68),
    "veil5": Style("paper", wash=0.8),
    "veil6": Style("paper", wash=0.88),
    # How much: the stronger, the more
    "shade": Style("blue", "blue", 0.75, wash=0.4),
    "shade1": Style("blue", "blue", 0.75, wash=0.1),
    "shade2": Style("blue", "blue", 0.75, wash=0.18),
    "shade3": Style("blue", "blue", 0.75, wash=0.27),
    "shade4": Style("blue", "blue", 0.75, wash=0.36),
    "shade5": Style("blue", "blue", 0.75, wash=0.45),
    "shade6": Style("blue", "blue", 0.75, wash=0.55),
    # Cells set off
    "window": Style("blue", "blue", 2.0, wash=0.26),
    "current": Style("green", "green", 2.5, wash=0.3),
    "stamped": Style("green", "green", 2.0, wash=0.22),
    "active": Style(None, "orange", 2.5),
    "kept": Style(None, "green", 3.0),
    "tile": Style(None, "green", 2.5),
    "halo": Style(None, "blue", 2.5, (5, 3)),
    "field": Style(None, "blue", 3.0),
    "wrong": Style("pink", "pink", 1.25, wash=0.35),
    "held": Style("blue", "blue", 1.5, wash=0.2),
    "fresh": Style("green", "green", 2.0, wash=0.34),
    "gone": Style("paper", "muted", 0.75, (3, 2.5), wash=0.8),
    "source": Style(None, "ink", 1.75, (1.5, 2.5)),
    "link": Style(None, "muted", 1.0),
    # Text
    "text": Style("ink"),
    "quiet": Style("muted"),
    "heading": Style("ink", bold=True),
}
