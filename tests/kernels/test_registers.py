"""Inner loops keep their sums in registers, whatever follows the sums."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("halide")

from convsmith.kernels.depthwise import Separable
from convsmith.kernels.isa import ISAS
from convsmith.kernels.kernel import Kernel, Numbers
from convsmith.kernels.pointwise import Dense, Epilogue, Pointwise
from tests.kernels.code import inner_loops, instructions

ISA = ISAS["avx512"]
TILES = [(channels, pixels) for channels, known in ISA.tiles for pixels in known[:2]]
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
    "dense, by parts": lambda *a, **k: Dense(*a, (3, 3), parts=True, **k),
    "separable": lambda *a, **k: Separable(*a, (3, 3), middle="relu", **k),
}
BF16 = Numbers(source=True, target=True, products=True)
CASES = [
    (kind, tile, numbers)
    for kind in KINDS
    for tile in TILES
    for numbers in (Numbers(), BF16)
    if not (numbers.products and "parts" in kind)  # sums of bf16 are not made by parts
]


@pytest.mark.parametrize(
    ("kind", "tile", "numbers"),
    CASES,
    ids=[f"{k}, {c} by {p}{', bf16' * n.products}" for k, (c, p), n in CASES],
)
def test_no_sum_waits_in_memory(
    kind: str, tile: tuple[int, int], numbers: Numbers, tmp_path: Path
) -> None:
    found = {}
    for name, epilogue in EPILOGUES.items():
        code = instructions(KINDS[kind](*tile, epilogue=epilogue, numbers=numbers), ISA, tmp_path)
        for loop in inner_loops(code):
            if any("vdivps" in line for line in loop):
                continue  # of an activation, which has products of its own
            products = sum("vfmadd" in line or "vdpbf16ps" in line for line in loop)
            saved = sum("zmm" in line and "(%rsp" in line for line in loop)
            if products and saved > products / 20:
                found[name] = saved, products
    assert not found
