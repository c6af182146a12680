"""In how many ways one output value reaches each position of the maps before it."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.arithmetic import Conv, Pool
from convsmith.draw.storyboard import At, Mark

__all__ = ["SHADES", "Ways", "shade", "shades", "ways_back"]

SHADES = 6
"""How many strengths of shade there are."""

Ways = dict[int, int]
"""The number of ways in which a position is reached."""


def ways_back(stack: Sequence[Conv | Pool], axis: int) -> list[Ways]:
    """The ways from one output value to each position of every map, the input's last.

    >>> ways_back([Conv(1, 1, 3), Conv(1, 1, 3)], 0)[-1]
    {0: 1, 1: 2, 2: 3, 3: 2, 4: 1}
    """
    maps: list[Ways] = [{0: 1}]
    for layer in reversed(stack):
        window = layer.windows[axis]
        before: Ways = {}
        for position, ways in maps[-1].items():
            for tap in range(window.kernel):
                at = position * window.stride - window.padding[0] + tap * window.dilation
                before[at] = before.get(at, 0) + ways
        maps.append(dict(sorted(before.items())))
    return maps


def shade(value: float, most: float) -> str:
    """The role of a cell that holds so much of the most: `shade1` … `shade6`.

    >>> shade(1, 100), shade(100, 100)
    ('shade1', 'shade6')
    """
    return f"shade{max(1, min(SHADES, -int(-SHADES * value // most)))}"


def shades(panel: str, values: dict[At, int], most: int) -> list[Mark]:
    """Cells marked by how much they hold."""
    cells_by_role: dict[str, list[At]] = {}
    for at, value in values.items():
        cells_by_role.setdefault(shade(value, most), []).append(at)
    return [Mark(panel, role, tuple(cells)) for role, cells in sorted(cells_by_role.items())]
