"""Pixels around the plane: zeros are left to the convolutions that read them, others a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.arithmetic import Window
from convsmith.arithmetic.window import source_index
from convsmith.errors import ArgumentError
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.pad import Pad
from convsmith.network import Layer
from convsmith.network.families.pad import mode_of, sides_of
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.concat import Copied
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["PAD", "Bordered", "Sides"]

Sides = tuple[tuple[int, int], tuple[int, int]]
"""Rows above and below, pixels left and right."""


@dataclass(eq=False)
class Bordered(Block):
    """A map with pixels of its own around it, or with a constant; or without its outer pixels.

    Attributes:
        sides: what is added at each; those below 0 are cut off.
        mode: where the values come from, as `Pad` has it.
        constant: those of the mode `constant`.
    """

    sides: Sides = ((0, 0), (0, 0))
    mode: str = "constant"
    constant: float = 0.0

    label = "pad"
    narrows = True

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The source's, and what is added.

        Raises:
            ArgumentError: for a map that is too small to be mirrored, repeated or cut so far.
        """
        room = {"reflect": -1, "circular": 0}.get(self.mode)
        for length, (low, high) in zip(size, self.sides, strict=True):
            short = room is not None and max(low, high) > length + room
            if short or length + min(low, 0) + min(high, 0) < 1:
                raise ArgumentError(
                    f"{self.name} cannot pad {length} pixels by {low} and {high} ({self.mode})"
                )
        rows, columns = (n + sum(sides) for n, sides in zip(size, self.sides, strict=True))
        return rows, columns

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The rows between the furthest ones whose values the band has."""
        low, high = (row - self.sides[0][0] for row in (start, stop - 1))
        turns = [end for end in (0, height - 1) if low <= end <= high]
        if self.mode == "circular" and (low < 0 <= high or low < height <= high):
            return 0, height
        mode = "replicate" if self.mode == "constant" else self.mode
        places = [source_index(row, height, mode) for row in (low, high, *turns)]
        rows = [row for row in places if row is not None]
        return min(rows), max(rows) + 1

    def origin(self, row: int) -> tuple[int, int]:
        """The kernel finds its rows by itself."""
        return 0, 0

    def reach(self, width: int, source: int) -> int:
        """All."""
        return source

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Pad(self.mode)

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Where the map lies in the result, and the constant."""
        (above, _), (left, _) = self.sides
        return [row, *size, above, left, self.constant]


def _refuse(layer: Layer, weights: Weights) -> str:
    sides, value = sides_of(layer), layer.operation.settings.get("value") or 0
    if len(sides) not in (2, 4) or not all(type(n) is int for n in sides):
        return "it pads more than the plane, or by a number that is computed"
    if mode_of(layer) == "circular" and min(sides) < 0:
        return "it repeats what is left of the plane"
    return "" if type(value) in (int, float) else "it pads with what is computed"


def _lower(draft: Draft, layer: Layer) -> None:
    left, right, top, bottom = (*sides_of(layer), 0, 0)[:4]
    sides, mode = ((top, bottom), (left, right)), mode_of(layer)
    constant = float(layer.operation.settings.get("value") or 0)
    readers = draft.network.consumers(layer.name)
    zeros = mode == "constant" and constant == 0 and min(left, right, top, bottom) >= 0
    if zeros and layer.name not in draft.outputs and all(r.kind == "convolution" for r in readers):
        draft.pads[layer.name] = sides
        draft.extend(layer, draft.made[layer.inputs[0]])
        return
    sources, target = [draft.map(layer.inputs[0])], Map(layer.name, layer.shape[1])
    block: Block = Bordered(layer.name, sources, target, sides=sides, mode=mode, constant=constant)
    if zeros:
        windows = Window(1, padding=sides[0]), Window(1, padding=sides[1])
        block = Copied(layer.name, sources, target, windows)
    draft.place(block, layer.name)


PAD = Lowering(_refuse, _lower)
