"""Any network on an image of any size, exactly: ranges, plans, stores, runs, many machines."""

from convsmith.tiling.outcome import Outcome
from convsmith.tiling.plan import Plan
from convsmith.tiling.reduce import Argmax, Histogram, Keep, Probability, Threshold
from convsmith.tiling.seams import Seams
from convsmith.tiling.tile import example_of, tile
from convsmith.tiling.tiled import Tiled

__all__ = [
    "Argmax", "Histogram", "Keep", "Outcome", "Plan", "Probability", "Seams", "Threshold", "Tiled",
    "example_of", "tile",
]  # fmt: skip


def __dir__() -> list[str]:
    return list(__all__)
