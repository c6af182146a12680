"""Inner loops keep their sums in registers, whatever follows the sums."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("halide")

from convsmith.kernels.blocked import Blocked
from convsmith.kernels.depthwise import Separable
from convsmith.kernels.epilogue import Epilogue
from convsmith.kernels.isa import ISAS, Isa
from convsmith.kernels.kernel import Kernel, Numbers
from convsmith.kernels.pointwise import Dense, Pointwise
from convsmith.kernels.winograd import Winograd
from tests.kernels.code import inner_loops, instructions

EPILOGUES = {
    "nothing": Epilogue(),
    "relu": Epilogue("relu"),
    "relu6": Epilogue("relu6"),
    "silu": Epilogue("silu"),
    "hardswish": Epilogue("hardswish"),
    "residual": Epilogue("identity", True),
    "residual, relu": Epilogue("identity", True, "relu"),
    "prelu": Epilogue("prelu"),
}
KINDS: dict[str, Callable[..., Kernel]] = {
    "pointwise": Pointwise,
    "pointwise, by parts": lambda *a, **k: Pointwise(*a, parts=True, **k),
    "dense": lambda *a, **k: Dense(*a, (3, 3), **k),
    "dense, blocked": lambda *a, **k: Blocked(*a, (3, 3), **k),
    "dense, by parts": lambda *a, **k: Dense(*a, (3, 3), parts=True, **k),
    "separable": lambda *a, **k: Separable(*a, (3, 3), middle="relu", **k),
    "winograd": lambda channels, pairs, **k: Winograd(channels, 2 * pairs, 3, **k),
}
BF16 = Numbers(source=True, target=True, products=True)
CASES = [
    (isa, kind, (channels, pixels), numbers)
    for isa in ISAS.values()
    for kind in KINDS
    for channels, known in isa.tiles
    for pixels in known[:2]
    for numbers in (Numbers(), BF16)
    # Sums of bf16 are not made by parts, nor for processors without such products.
    if not numbers.products or (isa.bf16 and "parts" not in kind)
    # Separable tiles of bf16 are at most 8 pixels long.
    if not (numbers.products and kind == "separable" and pixels > 8)
    # Nor are tiles of more pairs; and these are float32 alone.
    if kind != "winograd" or pixels <= 8
    if not (numbers.products and kind in ("winograd", "dense, blocked"))
]


def epilogues(isa: Isa, tile: tuple[int, int]) -> list[str]:
    """Every other one: tiles of as many channels, longer or shorter, take those between."""
    return [*EPILOGUES][dict(isa.tiles)[tile[0]].index(tile[1]) :: 2]


@pytest.mark.parametrize(
    ("isa", "kind", "tile", "numbers"),
    [
        pytest.param(
            *(isa, kind, (channels, pixels), numbers),
            id=f"{isa.name}, {kind}, {channels} by {pixels}{', bf16' * numbers.products}",
            marks=[] if "nothing" in epilogues(isa, (channels, pixels)) else pytest.mark.slow,
        )
        for isa, kind, (channels, pixels), numbers in CASES
    ],
)
def test_no_sum_waits_in_memory(
    isa: Isa, kind: str, tile: tuple[int, int], numbers: Numbers, tmp_path: Path
) -> None:
    found = {}
    for name in epilogues(isa, tile):
        epilogue = EPILOGUES[name]
        kernel = KINDS[kind](*tile, epilogue=epilogue, panel=tile[0], numbers=numbers)
        code = instructions(kernel, isa, tmp_path)
        for loop in inner_loops(code):
            if any("vdivps" in line for line in loop):
                continue  # of an activation, which has products of its own
            products = sum("vfmadd" in line or "vdpbf16ps" in line for line in loop)
            saved = sum(bool(re.search(r"\sv\w+\s+%[yz]mm\d+,\S*\(", line)) for line in loop)
            # A depthwise part stores one value for nine products.
            if products and saved > products / 8:
                found[name] = saved, products
    assert not found
