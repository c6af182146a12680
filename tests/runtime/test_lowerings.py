"""The table of lowerings: an answer for each kind of layer, and in one place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("halide")

import torch
from torch import nn

import convsmith as cs
from convsmith.kernels.activation import ACTIVATIONS, kernel_name
from convsmith.kernels.isa import Isa
from convsmith.network.families import FAMILIES, FAMILY_OF
from convsmith.runtime.lowering.table import LOWERINGS, REFUSED, SEEN_AS
from tests.runtime.oracle import agree, image, kinds


@pytest.mark.parametrize("kind", list(FAMILIES))
def test_every_kind_is_lowered_or_refused_with_a_reason(kind: str) -> None:
    assert (kind in LOWERINGS) != (kind in REFUSED)
    assert REFUSED.get(kind, "lowered").strip()  # type: ignore[call-overload]


def test_no_entry_without_a_kind() -> None:
    assert {*LOWERINGS, *REFUSED} <= set(FAMILIES)
    assert {*SEEN_AS} <= set(FAMILY_OF) and {*SEEN_AS.values()} <= set(LOWERINGS)


def test_every_activation_of_the_kernels_is_an_operation_on_one_value() -> None:
    assert {FAMILY_OF[name] for name in ACTIVATIONS if name != "identity"} == {
        "activation",
        "elementwise",
    }


@pytest.mark.parametrize(
    ("operation", "settings"),
    [
        ("clamp", {}),
        ("celu", {"alpha": 0}),
        ("rrelu", {"training": True}),
        ("pow", {"exponent": 2.5}),
        ("clamp", {"min": 2, "max": 1}),
        ("hardtanh", {"min_val": "computed", "max_val": 1}),
        ("", {}),
    ],
)
def test_activation_that_no_kernel_has(operation: str, settings: dict[str, object]) -> None:
    assert kernel_name(operation, settings) == ""


class _Stranger(nn.Module):
    """Something that no kernel computes, after a convolution that one does."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv, self.name = nn.Conv2d(3, 4, 3), name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return x.repeat(1, 1, 2, 1) if self.name == "repeat" else torch.roll(x, 1, 2)


@pytest.mark.parametrize(("name", "kind"), [("repeat", "expand"), ("roll", "roll")])
def test_reason_names_the_operation_and_says_why(name: str, kind: str) -> None:
    fast = cs.compile(_Stranger(name).eval(), (1, 3, 9, 9))
    assert len(fast.regions) == 1
    (reason,) = (why for why in fast.reasons.values() if why.startswith("no kernel"))
    assert reason == f"no kernel for {name}: {REFUSED[kind]}"


class Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    "activation",
    [
        nn.Mish(),
        nn.LeakyReLU(0.2),
        nn.ELU(),
        nn.ELU(0.7),
        nn.Softplus(),
        nn.Softplus(0.5, 3),
        nn.SELU(),
        nn.CELU(0.6),
        nn.Hardshrink(),
        nn.Softshrink(),
        nn.LogSigmoid(),
        nn.RReLU(),
        nn.Threshold(0.1, -3),
        Function(torch.square),
        Function(torch.abs),
        Function(lambda x: x**2),
        Function(lambda x: x**3),
        Function(lambda x: x.clamp(min=0.1)),
        Function(lambda x: torch.clamp_max(x, 0.3)),
    ],
    ids=str,
)
def test_activation_is_folded_into_the_convolution_before(activation: nn.Module, isa: Isa) -> None:
    compiled = agree(nn.Sequential(nn.Conv2d(3, 20, 3), activation), image(3, 17, 23), isa=isa.name)
    assert kinds(compiled) == ["Input", "dense", "Output"]
