"""The machine code of sums of bf16: what their inner loops consist of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("halide")

from convsmith.kernels.depthwise import Depthwise, Separable
from convsmith.kernels.epilogue import Epilogue
from convsmith.kernels.grouped import Grouped
from convsmith.kernels.isa import ISAS
from convsmith.kernels.kernel import Numbers
from convsmith.kernels.largest import HalfMaxPool
from convsmith.kernels.pointwise import Dense, Pointwise
from tests.kernels.code import inner_loops, instructions, name_of
from tests.thoroughness import thinned

BF16 = Numbers(source=True, target=True, products=True)
FROM_FLOAT32 = Numbers(target=True, products=True)
ISA = ISAS["avx512"]
TILES = [(channels, pixels) for channels, known in ISA.tiles for pixels in known]
IN_SUMS = {"vdpbf16ps", "vmovaps", "vmovups", "vmovdqa64", "vmovdqu64", "vbroadcastss"}
KINDS = {
    "pointwise": lambda c, p, **k: Pointwise(c, p, epilogue=Epilogue("relu6"), numbers=BF16, **k),
    "dense": lambda c, p, **k: Dense(c, p, (3, 3), numbers=BF16, **k),
    "strided": lambda c, p, **k: Dense(c, p, (3, 3), (2, 2), numbers=BF16, **k),
    "separable": lambda c, p, **k: Separable(
        c, p, (3, 3), middle="relu6", numbers=BF16, **k, words=16
    ),
    "of float32": lambda c, p, **k: Separable(
        c, p, (3, 3), middle="relu6", numbers=FROM_FLOAT32, together=32, **k
    ),
    "by channels": lambda c, p, **k: Separable(c, p, (3, 3), middle="relu6", numbers=BF16, **k),
    "multiplied": lambda c, p, **k: Separable(
        c, p, (3, 3), (2, 2), multiplier=2, numbers=BF16, **k
    ),
}


@pytest.mark.parametrize(("channels", "pixels"), thinned(TILES, 4))
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_one_instruction_and_pixels_one_broadcast(
    kind: str, channels: int, pixels: int, tmp_path: Path
) -> None:
    code = instructions(KINDS[kind](channels, pixels, panel=channels), ISA, tmp_path)
    loops = [list(map(name_of, loop)) for loop in inner_loops(code)]
    sums = [loop for loop in loops if "vdpbf16ps" in loop]
    assert sums, loops
    for loop in sums:
        # A pair of inputs for each accumulator; LLVM may take several steps at once.
        assert loop.count("vdpbf16ps") % (channels // ISA.lanes * pixels) == 0
        # No pair is put together from its halves, and no address is computed by vectors.
        assert {name for name in loop if name.startswith("v")} <= IN_SUMS
        assert len(loop) <= 3 * loop.count("vdpbf16ps") + 20


@pytest.mark.parametrize("pixels", dict(ISA.tiles)[32])
def test_two_vectors_are_rounded_as_one(pixels: int, tmp_path: Path) -> None:
    code = instructions(
        Pointwise(32, pixels, epilogue=Epilogue("relu6"), panel=32, numbers=BF16), ISA, tmp_path
    )
    names = list(map(name_of, code))
    # A ReLU6 is a comparison of integers, too, and what is stored is a vector of 32.
    for name in ("vpmaxsw", "vpminsw"):
        assert names.count(name) >= pixels
    assert not {"vcmpnltps", "vpmovdw"} & set(names)


@pytest.mark.parametrize("outputs", [16, 24, 48])
@pytest.mark.parametrize("dilated", [False, True])
def test_a_group_has_pairs_of_its_own(outputs: int, dilated: bool, tmp_path: Path) -> None:
    kernel = Grouped(16, outputs, 7, (3, 3), dilated=dilated, numbers=BF16)
    names = [name_of(line) for line in instructions(kernel, ISA, tmp_path)]
    # Of one row of taps: pixels, and where a group has them several vectors at once.
    assert names.count("vdpbf16ps") % (3 * 7) == 0 < names.count("vdpbf16ps")
    assert not {name for name in names if re.match(r"vpinsr|vpextr[bwd]|v\w*gather|vfmadd", name)}


@pytest.mark.parametrize("words", [8, 16])
def test_channels_of_a_word_are_loaded_once(words: int, tmp_path: Path) -> None:
    maps = Numbers(source=True, target=True)
    code = " ".join(instructions(Depthwise(7, (3, 3), numbers=maps, words=words), ISA, tmp_path))
    assert "vfmadd" in code
    assert not re.search(r"vpmovzxwd|vpinsr", code)


@pytest.mark.parametrize("channels", [16, 32])
def test_maxima_are_those_of_integers(channels: int, tmp_path: Path) -> None:
    code = " ".join(instructions(HalfMaxPool((3, 3), (2, 2), channels), ISA, tmp_path))
    assert "vpmaxsw" in code
    assert not re.search(r"v(max|cmp)ps|vpmovzxwd", code)


def test_float32_arithmetic_needs_no_such_processor(tmp_path: Path) -> None:
    maps = Numbers(source=True, target=True)
    code = " ".join(instructions(Depthwise(7, (3, 3), numbers=maps), ISA, tmp_path))
    assert "vfmadd" in code
    assert "bf16" not in code
