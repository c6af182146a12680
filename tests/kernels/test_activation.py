"""Activations against torch in float64, and what they make of NaN and infinities."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import pytest
import torch

from convsmith.errors import ArgumentError
from convsmith.kernels.activation import ACTIVATIONS, activate
from convsmith.kernels.isa import ISAS, Isa
from convsmith.kernels.kernel import target
from tests.kernels.reference import CALLS, activated

hl = pytest.importorskip("halide")

NAMES = [
    "abs", "celu:0.7:1.0:1.4285714285714286", "clamp:-1.5:0.25", "clamp:-inf:0.1",
    "clamp:1e-05:inf", "clamp_max:-inf:0.1", "clamp_min:-0.3:inf", "elu:1.0", "elu:0.7",
    "elu:0.7:1.5:2.0", "ceil", "erf", "exp", "floor", "gelu", "gelu:tanh", "hardshrink:0.5",
    "hardsigmoid", "hardswish", "hardtanh:-1.5:0.25", "identity", "leaky_relu:0.01",
    "leaky_relu:-0.3", "log", "log2", "log10", "log_sigmoid", "mish",
    "pow:-2.0", "pow:-1.0", "pow:-0.5", "pow:0.5", "pow:1.0", "pow:2.0", "pow:3.0", "prelu",
    "reciprocal", "relu", "relu6", "round", "rrelu:0.2", "rsqrt", "selu", "sigmoid", "sign", "silu",
    "softplus:1.0:20.0", "softplus:0.5:3.0", "softshrink:0.5", "sqrt", "square", "tanh",
    "threshold:0.1:-2.0", "trunc",
]  # fmt: skip
_SLOPE = -0.3125  # exact in float32, for `prelu`


@cache
def _function(name: str, isa: str) -> object:
    values, x, lane = hl.ImageParam(hl.Float(32), 1, "values"), hl.Var("x"), hl.Var("lane")
    out = hl.Func(f"activation_{len(name)}")
    out[x] = activate(name, values[x], hl.f32(_SLOPE))
    out.split(x, x, lane, ISAS[isa].lanes, hl.TailStrategy.GuardWithIf).vectorize(lane)
    return out.compile_to_callable([values], target(ISAS[isa]))


def _run(name: str, isa: Isa, values: torch.Tensor) -> torch.Tensor:
    result = np.empty(len(values), np.float32)
    _function(name, isa.name)(hl.Buffer(values.numpy()), hl.Buffer(result))  # type: ignore[operator]
    return torch.from_numpy(result)


def _activated(name: str, values: torch.Tensor) -> torch.Tensor:
    return activated(name, values, torch.tensor([_SLOPE], dtype=values.dtype))


def _values() -> torch.Tensor:
    """Every magnitude of either sign, and closely what lies about the bends."""
    spread = torch.logspace(-30, 38, 20_001, dtype=torch.float64)
    close = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    return torch.cat([spread, -spread, close, torch.tensor([0.0, -0.0])]).float()


def test_every_name_has_an_oracle() -> None:
    assert set(ACTIVATIONS) == set(CALLS) == {name.split(":")[0] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_as_float64(name: str, isa: Isa) -> None:
    values = _values()
    oracle = partial(_activated, name)
    wanted = oracle(values.double())
    size = torch.maximum(wanted.abs(), _scale(name, values)).nan_to_num()
    floor = torch.finfo(torch.float32).eps * size
    error = _error(_run(name, isa, values), wanted)
    eager = _error(oracle(values), wanted)
    worst = (error - torch.maximum(2 * eager, 4 * floor)).argmax()
    assert (error <= torch.maximum(2 * eager, 4 * floor)).all(), (
        f"{name}({values[worst]}) is off by {error[worst]}, eager by {eager[worst]}"
    )


def _error(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """None where both are infinite, or no number."""
    same = (found == wanted) | (found.isnan() & wanted.isnan())
    return torch.where(same, 0, (found.double() - wanted).abs())


@pytest.mark.parametrize("name", NAMES)
def test_errors_average_out(name: str, isa: Isa) -> None:
    """An error of the same sign everywhere adds up from layer to layer."""
    few = torch.finfo(torch.float32).eps / 16
    close = torch.linspace(0.1, 2.9, 40_001, dtype=torch.float64).float()
    for values in (close, -close):
        oracle = partial(_activated, name)
        if oracle(values).isnan().all():
            continue  # a root of what is negative
        exact = oracle(values.double())
        size = torch.maximum(exact.abs(), _scale(name, values)).mean()
        found, eager = _run(name, isa, values).double(), oracle(values).double()
        ours, eagers = (float((value - exact).mean().abs()) for value in (found, eager))
        assert ours <= max(2 * eagers, few * float(size))


def _scale(name: str, values: torch.Tensor) -> torch.Tensor:
    """The size of the numbers whose rounding a result carries: 1 + erf(x) is a small difference."""
    size = values.double().abs().clamp(max=6)
    return size if name.startswith("gelu") else 0 * size


@pytest.mark.parametrize("name", NAMES)
def test_not_finite_as_eager(name: str, isa: Isa) -> None:
    values = torch.tensor([torch.nan, -torch.nan, torch.inf, -torch.inf, 5e37, -5e37] * 9)
    # In float32 torch's own GELU of infinity is NaN.
    found, wanted = _run(name, isa, values), _activated(name, values.double()).float()
    torch.testing.assert_close(found, wanted, equal_nan=True, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["", "swish", "Relu"])
def test_unknown_name(name: str) -> None:
    with pytest.raises(ArgumentError, match="no kernel has an activation"):
        activate(name, hl.f32(0))
