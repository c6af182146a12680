"""A stack of layers along one axis: what it is written as, and what it sees."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

from convsmith.arithmetic import Chain, Conv, ConvTranspose, Pool, Positions
from convsmith.errors import ArgumentError

__all__ = ["MOST", "Reach", "StackLayer", "chain", "repair", "stack_of", "steps", "written"]

MOST = 30
"""Layers that a stack has at most."""

# How many sets of rates to try; each takes a microsecond or two.
_TRIES = 20_000

_KINDS = {"": "conv", "p": "pool", "t": "transposed"}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}
_LAYER = re.compile(r"([pt]?)(\d{1,2})(?:s(\d{1,2}))?(?:d(\d{1,3}))?(?:p(\d{1,3}))?", re.ASCII)


@dataclass(frozen=True)
class StackLayer:
    """One layer of a stack; a pool's stride is its kernel unless it says otherwise.

    Its padding is the same on both sides. It moves where a value looks and keeps a map's size, but
    not how much a value sees.
    """

    kind: str = "conv"
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    padding: int = 0

    def layer(self, *, padded: bool = False, dims: int = 2) -> Conv | ConvTranspose | Pool:
        """The layer, of one channel.

        Args:
            padded: whether with its padding.
            dims: how many axes it has.
        """
        pads = self.padding if padded else 0
        if self.kind == "pool":
            return Pool(self.kernel, self.stride, pads, dims=dims)
        if self.kind == "transposed":
            return ConvTranspose(
                1, 1, self.kernel, self.stride, pads, dilation=self.dilation, dims=dims
            )
        return Conv(1, 1, self.kernel, self.stride, pads, self.dilation, dims=dims)

    def __str__(self) -> str:
        usual = self.kernel if self.kind == "pool" else 1
        return (
            f"{_LETTERS[self.kind]}{self.kernel}"
            + f"s{self.stride}" * (self.stride != usual)
            + f"d{self.dilation}" * (self.dilation != 1 and self.kind != "pool")
            + f"p{self.padding}" * (self.padding > 0)
        )


@dataclass(frozen=True)
class Reach:
    """What one value after a layer sees of the stack's input, along one axis.

    Attributes:
        layer: the layer.
        seen: the positions read, on a map without borders.
        jump: how far apart neighbouring values look, in input positions; a fraction is None.
    """

    layer: StackLayer
    seen: Positions
    jump: int | None


def stack_of(text: str) -> tuple[StackLayer, ...]:
    """Read a stack: layers with `-` between, each a kernel and what else it has.

    After the kernel come `s` and its stride, `d` and its dilation, `p` and its padding. A `p`
    before the kernel makes a pool of it, a `t` a transposed convolution.

    Raises:
        ArgumentError: no layers, too many, or text that is not a layer.

    >>> stack_of("3d2-p2-t3s2")[1:]
    (StackLayer(kind='pool', kernel=2, stride=2, dilation=1, padding=0), \
StackLayer(kind='transposed', kernel=3, stride=2, dilation=1, padding=0))
    """
    layers = []
    for part in text.replace(" ", "").replace(",", "-").split("-"):
        match = _LAYER.fullmatch(part)
        if match is None:
            raise ArgumentError(f"{part!r} is not a layer: expected, say, 3d2, 3s2, p2 or t3s2")
        kind, kernel = _KINDS[match[1]], int(match[2])
        stride = int(match[3] or (kernel if kind == "pool" else 1))
        layer = StackLayer(kind, kernel, stride, int(match[4] or 1), int(match[5] or 0))
        if min(layer.kernel, layer.stride, layer.dilation) < 1:
            raise ArgumentError(f"{part!r}: kernel, stride and dilation are at least 1")
        layers.append(layer)
    if len(layers) > MOST:
        raise ArgumentError(f"a stack has at most {MOST} layers, not {len(layers)}")
    return tuple(layers)


def written(stack: Sequence[StackLayer]) -> str:
    """The text that `stack_of` reads.

    >>> written(stack_of("3d2, p2, p3s2"))
    '3d2-p2-p3s2'
    """
    return "-".join(map(str, stack))


def chain(stack: Sequence[StackLayer]) -> Chain:
    """The layers in sequence."""
    return Chain(*(part.layer() for part in stack))


def steps(stack: Sequence[StackLayer]) -> list[Reach]:
    """What a value after each layer sees.

    >>> [step.seen.span for step in steps(stack_of("3-3d2-3d4"))]
    [3, 7, 15]
    """
    reaches = []
    up, down = 1, 1
    for index, part in enumerate(stack):
        if part.kind == "transposed":
            down *= part.stride
        else:
            up *= part.stride
        shared = gcd(up, down)
        up, down = up // shared, down // shared
        # After a transposed layer neighbours read differently: take all of one period together.
        outputs = Positions.range(0, down)
        seen = (
            chain(stack[: index + 1]).reads(0, outputs)
            if down > 1
            else chain(stack[: index + 1]).receptive_field()
        )
        reaches.append(Reach(part, seen, up if down == 1 else None))
    return reaches


@lru_cache(maxsize=64)
def repair(stack: tuple[StackLayer, ...]) -> tuple[int, ...] | None:
    """Dilations that reach as far and leave no hole, as `convsmith inspect --holes` names them.

    Only for convolutions of one kernel and of stride 1; None where there is no hole, no such
    dilations, too many to try, or no torch to ask with.

    >>> repair(stack_of("3d2-3d2-3d2"))
    (1, 2, 3)
    """
    rates = [part.dilation for part in stack]
    plain = {(part.kind, part.kernel, part.stride) for part in stack}
    if plain != {("conv", stack[0].kernel, 1)} or sum(rates) ** (len(rates) - 1) > _TRIES:
        return None
    if not chain(stack).receptive_field().largest_gap:
        return None
    try:
        from convsmith.measure import gridding
    except ImportError:
        return None
    return gridding(rates, stack[0].kernel).repair
