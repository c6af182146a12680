"""`convsmith draw gridding`: the paths of dilated layers; a repair is what `measure` finds."""

from __future__ import annotations

from typing import Annotated

from convsmith.draw.command import Option
from convsmith.draw.options import parse_rates
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.paths import paths
from convsmith.errors import ArgumentError

__all__ = ["gridding"]


def gridding(
    rates: Annotated[str, Option("Dilations, such as 2,2,2.", metavar="RATES", argument=True)],
    kernel: Annotated[int, Option("Number of taps of each layer.")] = 3,
    repair: Annotated[bool, Option("Also draw rates of equal width without holes.")] = False,
    beside: Annotated[
        str | None, Option("Also draw these rates, such as 1,2,3.", metavar="RATES")
    ] = None,
) -> Scene:
    """Draw in how many ways dilated layers read each pixel, and the holes."""
    first = parse_rates("RATES", rates)
    second = None if beside is None else parse_rates("--beside", beside)
    if repair and second is None:
        from convsmith.measure.holes import gridding as judge

        verdict = judge(first, kernel)
        if verdict.largest_gap and verdict.repair is None:
            raise ArgumentError(f"no {len(first)} rates of this width leave no hole: {rates}")
        second = list(verdict.repair) if verdict.repair else None
    return paths(first, kernel, repair=second)
