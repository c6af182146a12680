"""Activations against torch in float64, and what they make of NaN and infinities."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convsmith.errors import ArgumentError
from convsmith.kernels.activation import ACTIVATIONS, activate
from convsmith.kernels.isa import ISAS, Isa
from convsmith.kernels.kernel import target

hl = pytest.importorskip("halide")

ORACLES = {
    "identity": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu:tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardtanh:-1.5:0.25": lambda x: F.hardtanh(x, -1.5, 0.25),
    "clamp:-1.5:0.25": lambda x: torch.clamp(x, -1.5, 0.25),
    "clamp:-inf:0.1": lambda x: torch.clamp(x, -torch.inf, 0.1),
    "mish": F.mish,
    "leaky_relu:0.01": F.leaky_relu,
    "leaky_relu:-0.3": lambda x: F.leaky_relu(x, -0.3),
    "elu:1.0": F.elu,
    "elu:0.7": lambda x: F.elu(x, 0.7),
    "softplus:1.0:20.0": F.softplus,
    "softplus:0.5:3.0": lambda x: F.softplus(x, 0.5, 3),
    "clamp:1e-05:inf": lambda x: torch.clamp(x, 1e-05, torch.inf),
}


@cache
def _function(name: str, isa: str) -> object:
    values, x, lane = hl.ImageParam(hl.Float(32), 1, "values"), hl.Var("x"), hl.Var("lane")
    out = hl.Func(f"activation_{len(name)}")
    out[x] = activate(name, values[x])
    out.split(x, x, lane, ISAS[isa].lanes, hl.TailStrategy.GuardWithIf).vectorize(lane)
    return out.compile_to_callable([values], target(ISAS[isa]))


def _run(name: str, isa: Isa, values: torch.Tensor) -> torch.Tensor:
    result = np.empty(len(values), np.float32)
    _function(name, isa.name)(hl.Buffer(values.numpy()), hl.Buffer(result))  # type: ignore[operator]
    return torch.from_numpy(result)


def _values() -> torch.Tensor:
    """Every magnitude of either sign, and closely what lies about the bends."""
    spread = torch.logspace(-30, 38, 20_001, dtype=torch.float64)
    close = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    return torch.cat([spread, -spread, close, torch.tensor([0.0, -0.0])]).float()


def test_every_name_has_an_oracle() -> None:
    assert set(ACTIVATIONS) == {name.split(":")[0] for name in ORACLES}


@pytest.mark.parametrize("name", ORACLES)
def test_as_float64(name: str, isa: Isa) -> None:
    values = _values()
    oracle = ORACLES[name]
    wanted = oracle(values.double())
    floor = torch.finfo(torch.float32).eps * torch.maximum(wanted.abs(), _scale(name, values))
    error = (_run(name, isa, values).double() - wanted).abs()
    eager = (oracle(values).double() - wanted).abs()
    worst = (error - torch.maximum(2 * eager, 4 * floor)).argmax()
    assert (error <= torch.maximum(2 * eager, 4 * floor)).all(), (
        f"{name}({values[worst]}) is off by {error[worst]}, eager by {eager[worst]}"
    )


@pytest.mark.parametrize("name", ORACLES)
def test_errors_average_out(name: str, isa: Isa) -> None:
    """An error of the same sign everywhere adds up from layer to layer."""
    few = torch.finfo(torch.float32).eps / 16
    close = torch.linspace(0.1, 2.9, 40_001, dtype=torch.float64).float()
    for values in (close, -close):
        oracle = ORACLES[name]
        exact = oracle(values.double())
        size = torch.maximum(exact.abs(), _scale(name, values)).mean()
        found, eager = _run(name, isa, values).double(), oracle(values).double()
        ours, eagers = (float((value - exact).mean().abs()) for value in (found, eager))
        assert ours <= max(2 * eagers, few * float(size))


def _scale(name: str, values: torch.Tensor) -> torch.Tensor:
    """The size of the numbers whose rounding a result carries: 1 + erf(x) is a small difference."""
    size = values.double().abs().clamp(max=6)
    return size if name.startswith("gelu") else 0 * size


@pytest.mark.parametrize("name", ORACLES)
def test_not_finite_as_eager(name: str, isa: Isa) -> None:
    values = torch.tensor([torch.nan, -torch.nan, torch.inf, -torch.inf, 5e37, -5e37] * 9)
    # In float32 torch's own GELU of infinity is NaN.
    found, wanted = _run(name, isa, values), ORACLES[name](values.double()).float()
    torch.testing.assert_close(found, wanted, equal_nan=True, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["", "swish", "Relu"])
def test_unknown_name(name: str) -> None:
    with pytest.raises(ArgumentError, match="no kernel has an activation"):
        activate(name, hl.f32(0))
