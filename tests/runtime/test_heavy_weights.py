"""Weights that no second cache holds go through all pixels in parts, with the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convsmith.arithmetic import Window
from convsmith.kernels.isa import ISAS, Isa
from convsmith.kernels.jit import open_library
from convsmith.runtime import compile
from convsmith.runtime.execution.region import Region
from convsmith.runtime.execution.team import team
from convsmith.runtime.lowering import convolution
from convsmith.runtime.lowering.block import Input, Output
from convsmith.runtime.lowering.convolution import Convolution
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.narrowing import narrow
from convsmith.runtime.precision import Precision
from tests.runtime.agreement import agree
from tests.runtime.test_random_blocks import Block, Spec, able, lively, specs
from tests.runtime.test_random_networks import networks
from tests.thoroughness import examples

NONE, ALL = 1 << 60, 0


@contextmanager
def heavy_from(size: int) -> Iterator[None]:
    """Take weights of so many bytes for heavy."""
    with mock.patch.object(convolution, "_HEAVY", size):
        yield


def _outputs(net: nn.Module, image: Tensor, heavy: int, **options: Any) -> tuple[Tensor, ...]:
    with heavy_from(heavy):
        found = compile(net.eval(), image, **options)(image)
    return found if isinstance(found, tuple) else (found,)


def _same_bits(net: nn.Module, image: Tensor, **options: Any) -> None:
    light, heavy = (_outputs(net, image, size, **options) for size in (NONE, ALL))
    for one, other in zip(light, heavy, strict=True):
        assert torch.equal(one.nan_to_num(7), other.nan_to_num(7))


@pytest.mark.parametrize("name", ISAS)
@examples(12, 3)
@given(spec=specs())
def test_blocks(name: str, spec: Spec) -> None:
    torch.manual_seed(spec.seed)
    net = lively(Block(spec))
    image = torch.randn(spec.batch, spec.channels[0], *spec.size)
    _same_bits(net, image, isa=able(name), threads=spec.threads)


@examples(3, 1)
@given(given_=networks(), threads=st.integers(1, 3))
def test_networks(given_: tuple[nn.Module, Tensor], threads: int) -> None:
    _same_bits(*given_, threads=threads)


TRANSPOSED = {
    "four taps": nn.ConvTranspose2d(37, 21, 4, 2, 1),
    "three taps": nn.ConvTranspose2d(20, 50, 3, 2, 1, 1),
    "rows alone": nn.ConvTranspose2d(20, 50, (5, 3), (3, 1), (1, 0)),
    "dilated": nn.ConvTranspose2d(33, 17, 3, 1, dilation=2),
    "one tap": nn.ConvTranspose2d(64, 32, 2, 2),
}


@pytest.mark.parametrize("layer", TRANSPOSED.values(), ids=TRANSPOSED)
def test_transposed(layer: nn.ConvTranspose2d, isa: Isa) -> None:
    for size in ((1, 2), (6, 19)):
        image = torch.randn(2, layer.in_channels, *size)
        _same_bits(nn.Sequential(layer, nn.SiLU()), image, isa=isa.name, threads=2)


@pytest.mark.parametrize("layer", [nn.Conv2d(131, 130, 3, padding=1), nn.Conv2d(601, 300, 1)])
def test_maps_of_bf16(layer: nn.Conv2d, isa: Isa) -> None:
    """An odd number of channels is summed up in float32, whatever its map holds."""
    channels, outputs = layer.in_channels, layer.out_channels
    source, target = Map("x", channels), Map("y", outputs)
    rows, columns = (Window(k, padding=(k // 2,) * 2) for k in layer.kernel_size)
    weight, bias = (value.detach().numpy() for value in (layer.weight, layer.bias))
    middle = Convolution(
        "y", [source], target, (rows, columns), weight=weight, bias=bias
    )  # fmt: skip
    blocks = [Input("x", [], source), middle, Output("y", [target], None)]
    source.widen(rows.padding, columns.padding)
    narrow(blocks, Precision("bf16"))
    assert source.narrow and not middle.products
    image = torch.randn(2, channels, 7, 23)
    library = open_library(isa)
    found = Region(blocks, library, team(1), "bf16")(image)
    with torch.no_grad():
        wanted = deepcopy(layer).double()(image.bfloat16().double())
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


HEAVY = {
    "dense": (nn.Conv2d(130, 130, 3, padding=1), ["blocked"]),
    "dense, strided": (nn.Conv2d(320, 150, 3, 2), ["blocked"]),
    "two parts": (nn.Conv2d(400, 120, (3, 2)), ["blocked"]),
    "pointwise": (nn.Conv2d(600, 300, 1), ["pointwise"]),
    "light": (nn.Conv2d(100, 100, 3), ["dense"]),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_as_float64(kind: str, isa: Isa) -> None:
    layer, families = HEAVY[kind]
    agree(layer, torch.randn(2, layer.in_channels, 7, 23), isa.name, threads=2)
    fast = compile(layer, (1, layer.in_channels, 7, 23), isa=isa.name)
    (block,) = fast.regions[0].blocks[1:-1]
    kernel = block.kernel(isa, 20)
    assert [kernel.family] == families
    assert getattr(kernel, "outermost", False) == (kind == "pointwise")
