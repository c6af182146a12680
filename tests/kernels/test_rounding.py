"""Float32 to bf16 as halves of words, for every upper half there is."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import torch

from convsmith.kernels.activation import limits
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import target
from convsmith.kernels.rounding import ALL, Limits, Rounding, in_halves

hl = pytest.importorskip("halide")

LOWER = (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)
LIMITS = (ALL, (0.0, inf), (0.0, 6.0), (-inf, 2.5), (0.5, 0.5))


def _values() -> torch.Tensor:
    """All numbers but signalling NaNs, which no arithmetic leaves, with these lower halves."""
    upper = np.arange(2**16, dtype=np.uint32)[:, None] << 16
    bits = (upper | np.array(LOWER, np.uint32)).reshape(-1)
    values = torch.from_numpy(bits.view(np.float32))
    quiet = torch.from_numpy((bits & 0x7FC00000) == 0x7FC00000)
    return values[~values.isnan() | quiet]


def _rounded(values: torch.Tensor, kept: Limits, by_pairs: bool, isa: Isa) -> torch.Tensor:
    lanes = isa.lanes
    given, c, x = hl.ImageParam(hl.Float(32), 2, "given"), hl.Var("c"), hl.Var("x")
    block, lane = hl.Var("block"), hl.Var("lane")
    each = [given[2 * c, x], given[2 * c + 1, x]] if by_pairs else [given[c, x]]
    rounding, out = Rounding(each, (c, x), kept), hl.Func("out")
    out[c, x] = rounding[c, x]
    out.split(c, block, lane, 2 * lanes, hl.TailStrategy.RoundUp).reorder(lane, x, block).vectorize(
        lane
    )
    rounding.compute_at(out, x, lanes)
    table = np.ascontiguousarray(np.resize(values.numpy(), (-(-len(values) // 256), 256)))
    found = np.empty(table.shape, np.uint16)
    out.compile_to_callable([given], target(isa))(hl.Buffer(table), hl.Buffer(found))
    bits = torch.from_numpy(found.reshape(-1)[: len(values)].view(np.int16))
    return bits.view(torch.bfloat16)


@pytest.mark.parametrize("by_pairs", [False, True])
@pytest.mark.parametrize("kept", LIMITS)
def test_the_nearest_is_taken_and_a_nan_stays_one(kept: Limits, by_pairs: bool, isa: Isa) -> None:
    values = _values()
    found = _rounded(values, kept, by_pairs, isa)
    wanted = values.bfloat16().clamp(*kept)
    assert torch.equal(found.isnan(), values.isnan())
    number = ~values.isnan()
    assert torch.equal(found[number], wanted[number])


@pytest.mark.parametrize("name", ["relu", "relu6", "clamp_max:-inf:2.5", "clamp:0.5:0.5"])
def test_limits_of_activations_that_bf16_has(name: str) -> None:
    ends = limits(name)
    assert ends is not None
    assert in_halves(ends)


@pytest.mark.parametrize(
    "name", ["hardtanh:-1.0:1.0", "clamp:0.0:0.3", "silu", "clamp_min:1e-39:inf"]
)
def test_others_are_kept_in_float32(name: str) -> None:
    assert not in_halves(limits(name))
