"""Instruction sets: lanes of a vector, and the register tiles found by trial for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from convsmith.errors import ArgumentError

__all__ = [
    "BLOCK", "CROSS", "ISAS", "PIXELS", "Isa", "channel_pitch", "choose_isa", "fit", "lacking",
]  # fmt: skip

PIXELS = (8, 7, 4, 2, 1)
"""Pixels that are computed at once where their channels are summed up, to hide latency."""

BLOCK = 16
"""Channels are padded to a multiple of this in every buffer, whatever the instruction set."""


@dataclass(frozen=True, slots=True)
class Isa:
    """One instruction set.

    Attributes:
        name: as it is forced by `CONVSMITH_ISA`.
        lanes: float32 values in a vector.
        features: what Halide's target is given.
        tiles: for the channels of a tile, the pixels that fill the registers with it. Channels
            over lanes, times pixels, are the accumulators: enough of them to hide the latency of a
            multiply-add (4 cycles, 2 a cycle), few enough to leave registers for the operands.
        panels: channels whose weights lie together, the most that divide a map's; a tile divides
            them. Instruction sets of one processor have the same, to share the weights of a file.
        strips: the pixels that fill the registers with one vector of channels, where each channel
            has weights and values of its own.
        bf16: what Halide's target needs besides `features` for products of bf16, which not every
            machine has; empty where there are none.
    """

    name: str
    lanes: int
    features: tuple[str, ...]
    tiles: tuple[tuple[int, tuple[int, ...]], ...]
    panels: tuple[int, ...]
    strips: tuple[int, ...]
    bf16: tuple[str, ...] = ()

    @property
    def has_bf16(self) -> bool:
        """Whether this machine multiplies bf16 with it."""
        return bool(self.bf16) and set(self.bf16) <= _host()

    def tile(self, channels: int) -> int:
        """The channels of a tile for a map that tiles of so many would suit: a part of them."""
        return next(tile for tile, _ in self.tiles if channels % tile == 0)

    def panel(self, channels: int) -> int:
        """The channels whose weights lie together in a map that tiles of so many would suit."""
        return next(panel for panel in self.panels if channels % panel == 0)

    def pixels(self, channels: int, width: int) -> int:
        """The pixels of a tile that wastes least of a row; a tile never exceeds the row."""
        return _of_tile(dict(self.tiles)[channels], width)

    def strip(self, width: int) -> int:
        """The same of a strip of one vector of channels."""
        return _of_tile(self.strips, width)


def _of_tile(known: Sequence[int], width: int) -> int:
    return width if width <= max(known) else fit(known, width)


def fit(lengths: Sequence[int], width: int) -> int:
    """Of the lengths a tile may have, the one that covers a row with least waste.

    A row is covered by whole tiles, the last one moved inwards; short ones cost more a pixel.

    >>> fit((14, 8, 7), 56), fit((14, 8, 7), 64)
    (14, 8)
    """
    options = [length for length in lengths if length <= width]
    return min(options, key=lambda p: (-(-width // p) * p * (1 + 0.6 / p), -p))


_PANELS = (48, 32, 16)
_COMMON = ("sse41", "avx", "f16c", "fma", "avx2")

ISAS: dict[str, Isa] = {
    "avx512": Isa(
        "avx512",
        16,
        (*_COMMON, "avx512", "avx512_skylake"),
        ((48, (8, 7, 4, 2, 1)), (32, (14, 8, 7, 6, 5, 4, 2, 1)), (16, (14, 10, 7, 4, 2, 1))),
        _PANELS,
        (14, 10, 7, 4, 2, 1),
        ("avx512_zen4",),
    ),
    "avx2": Isa(
        "avx2",
        8,
        _COMMON,
        # Beside twelve sums there are registers for the weights of two vectors, not of more.
        ((16, (6, 5, 4, 3, 2, 1)),),
        _PANELS,
        (7, 4, 2, 1),
    ),
}
"""Those that kernels are loaded for, widest first."""

CROSS: dict[str, Isa] = {
    # 24 of 32 registers are sums: per input 24 products, 4 loads of weights, 6 of values.
    "neon": Isa("neon", 4, (), ((16, (6, 5, 4, 2, 1)),), (16,), (6, 5, 4, 2, 1)),
    # Without multiply-adds, and with 16 registers where it runs on x86-64.
    "simd128": Isa("simd128", 4, ("wasm_simd128",), ((16, (3, 2, 1)),), (16,), (3, 2, 1)),
}
"""Those of other machines, which kernels are only written for."""


@cache
def choose_isa(name: str | None = None) -> Isa | None:
    """The instruction set to build for: the one named, else the widest that this machine has.

    Args:
        name: `avx512` or `avx2`; `CONVSMITH_ISA` stands in for it.

    Returns:
        None where the machine has neither, and everything runs in torch.

    Raises:
        ArgumentError: for a name that is not known, or that this machine cannot run.
    """
    requested = name or os.environ.get("CONVSMITH_ISA")
    host = _host()
    able = [isa for isa in ISAS.values() if set(isa.features) <= host]
    if not requested:
        return able[0] if able else None
    if requested not in ISAS:
        raise ArgumentError(f"no kernels for {requested!r}: choose one of {', '.join(ISAS)}")
    if ISAS[requested] not in able:
        raise ArgumentError(f"this machine cannot run {requested} code")
    return ISAS[requested]


@cache
def _host() -> set[str]:
    """What Halide says of this machine."""
    import halide as hl

    return set(str(hl.get_host_target()).split("-"))


_FLAGS = {
    "avx2": ("avx", "avx2", "f16c", "fma"),
    "avx512": ("avx2", "f16c", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    # What came with products of bf16 may be used by what the compiler writes around them.
    "bf16": (
        "avx512_bf16",
        "avx512_vnni",
        "avx512_vbmi2",
        "avx512_bitalg",
        "avx512_vpopcntdq",
        "avx512ifma",
        "avx512vbmi",
    ),
}
"""What the system calls the instructions that kernels of a set use."""


def lacking(name: str) -> list[str]:
    """The instructions of a set that this processor has not got, or is not known to have.

    Halide is not asked: machine code that was made before runs without it.
    """
    from convsmith.machine import cpu_flags

    present = cpu_flags()
    return [flag for flag in _FLAGS.get(name, (name,)) if flag not in present]


def channel_pitch(channels: int) -> tuple[int, int]:
    """The channels a buffer has room for, and the channels of a tile that writes it.

    >>> channel_pitch(96), channel_pitch(24), channel_pitch(10)
    ((96, 48), (32, 32), (16, 16))
    """
    # 48 channels a tile are quickest and 16 slowest, by measured GFLOP/s: 230, 220, 170.
    cost = {48: 1.0, 32: 1.04, 16: 1.3}
    tile = min(cost, key=lambda tile: -(-channels // tile) * tile * cost[tile])
    return -(-channels // tile) * tile, tile
