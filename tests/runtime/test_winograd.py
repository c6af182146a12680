"""Dense convolutions with two thirds of the products, where that is asked for."""

from __future__ import annotations

import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.kernels.isa import ISAS, Isa
from convsmith.runtime import compile
from tests.runtime.agreement import agree
from tests.runtime.test_random_blocks import ACTIVATIONS, able, lively
from tests.thoroughness import examples


class _Joined(nn.Module):
    """Transformed convolutions of parts of a map, of a sum and of both joined again."""

    def __init__(self, first: nn.Module, second: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.last = first, second, last

    def forward(self, x: Tensor) -> Tensor:
        """A dense block's and a residual's ways."""
        left, right = x.chunk(2, 1)
        joined = torch.cat([self.first(left), right], 1)
        return torch.relu(joined + self.last(torch.tanh(self.second(joined))))


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """Convolutions that are transformed in rows of an even length, and an image."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    act = ACTIVATIONS[draw(st.integers(0, len(ACTIVATIONS) - 1))]

    def conv(inputs: int, outputs: int, stride: int = 1, rows: int = 3) -> nn.Module:
        sides = rows // 2, draw(st.integers(1, 2)) if stride > 1 else 1
        layer = nn.Conv2d(inputs, outputs, (rows, 3), (stride, 1), sides, bias=draw(st.booleans()))
        return nn.Sequential(layer, *([nn.BatchNorm2d(outputs)] * draw(st.integers(0, 1))))

    size = draw(st.integers(1, 12)), draw(st.integers(1, 40))
    channels = 16 * draw(st.sampled_from([2, 3, 4, 6, 9, 17, 19]))
    if draw(st.booleans()):
        outputs = draw(st.integers(32, 100))
        single = conv(channels, outputs, draw(st.integers(1, 2)), draw(st.sampled_from([1, 3, 5])))
        net: nn.Module = nn.Sequential(single, act())
    else:
        net = _Joined(
            nn.Sequential(conv(channels, channels), act()),
            conv(2 * channels, channels),
            conv(channels, 2 * channels),
        )
        channels *= 2
    return lively(net), torch.randn(draw(st.integers(1, 2)), channels, *size)


@pytest.mark.parametrize("name", ISAS)
@examples(30, 4)
@given(given_=networks(), threads=st.integers(1, 3))
def test_as_float64(name: str, given_: tuple[nn.Module, Tensor], threads: int) -> None:
    agree(*given_, able(name), threads, winograd=True)


@examples(12, 3)
@given(given_=networks(), threads=st.integers(2, 3))
def test_same_bits_for_threads_and_batches(given_: tuple[nn.Module, Tensor], threads: int) -> None:
    net, image = given_
    images = torch.cat([image, image.flip(0), -image])
    one = compile(net, image, threads=1, winograd=True)
    wanted = one(images)
    assert torch.equal(compile(net, image, threads=threads, winograd=True)(images), wanted)
    assert torch.equal(torch.cat([one(image) for image in images.split(1)]), wanted)


def _labels(net: nn.Module, *shape: int, **options: Any) -> list[str]:
    fast = compile(net.eval(), (1, *shape), **options)
    return [block.label for region in fast.regions for block in region.blocks[1:-1]]


WITHOUT = {
    "a stride": nn.Conv2d(32, 32, 3, 2),
    "a dilation": nn.Conv2d(32, 32, 3, dilation=2),
    "few inputs": nn.Conv2d(16, 64, 3),
    "few outputs": nn.Conv2d(64, 16, 3),
    "inputs that are no multiple of 16": nn.Conv2d(40, 64, 3),
    "another width": nn.Conv2d(32, 32, (3, 5)),
    "one column": nn.Conv2d(32, 32, (3, 1)),
    "groups": nn.Conv2d(64, 64, 3, groups=2),
}


def test_which_convolutions_are_transformed(isa: Isa) -> None:
    for rows in (1, 3, 4):
        assert _labels(nn.Conv2d(32, 40, (rows, 3)), 32, 9, 8, winograd=True) == ["winograd"]
    assert _labels(nn.Conv2d(32, 40, 3), 32, 9, 8) == ["dense"]
    for why, layer in WITHOUT.items():
        labels = _labels(layer, layer.in_channels, 11, 12, winograd=True)
        assert "winograd" not in labels, why


def test_rows_of_an_odd_number_of_pixels_have_the_bits_of_before(isa: Isa) -> None:
    net = nn.Conv2d(48, 40, 3, padding=1).eval()
    plain, fast = (compile(net, (1, 48, 7, 9), isa=isa.name, winograd=w) for w in (False, True))
    for width in (1, 3, 9, 31):
        image = torch.randn(2, 48, 5, width)
        assert torch.equal(plain(image), fast(image))
    image = torch.randn(2, 48, 5, 10)
    assert not torch.equal(plain(image), fast(image))


@pytest.mark.slow
def test_one_network_serves_rows_of_both_kinds(isa: Isa) -> None:
    net = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(32, 32, 3))
    fast = compile(net.eval(), (1, 32, 8, 8), isa=isa.name, winograd=True)
    for width in range(6, 16):
        image = torch.randn(1, 32, 9, width)
        with torch.no_grad():
            torch.testing.assert_close(fast(image), net(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("act", [nn.ReLU, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Hardswish])
def test_a_nan_stays_where_eager_has_it(isa: Isa, act: type[nn.Module]) -> None:
    net = nn.Sequential(nn.Conv2d(32, 48, 3, padding=1), act()).eval()
    fast = compile(net, (1, 32, 5, 12), isa=isa.name, winograd=True)
    for column in (0, 1, 6, 11):
        image = torch.randn(2, 32, 5, 12)
        image[0, 3, 2, column] = torch.nan
        with torch.no_grad():
            assert torch.equal(fast(image).isnan(), net(image).isnan())


def test_an_infinity_moves_no_pixel_that_does_not_read_it_or_share_a_pair_with_one(
    isa: Isa,
) -> None:
    net = nn.Conv2d(32, 48, 3, padding=1).eval()
    image = torch.randn(1, 32, 5, 12)
    image[0, 3, 2, 6] = torch.inf
    found = compile(net, image, isa=isa.name, winograd=True)(image)
    with torch.no_grad():
        wanted = net(image)
    assert not found[:, :, 1:4, 5:8].isfinite().any()  # as eager, some of them NaN
    rest = torch.ones(5, 12, dtype=torch.bool)
    rest[1:4, 4:8] = False
    torch.testing.assert_close(found[..., rest], wanted[..., rest], rtol=1e-4, atol=1e-5)


def test_what_is_changed_in_the_model_is_taken_over(isa: Isa) -> None:
    net = nn.Conv2d(32, 32, 3, padding=1).eval()
    fast, image = compile(net, (1, 32, 6, 6), isa=isa.name, winograd=True), torch.randn(1, 32, 6, 6)
    fast(image)
    with torch.no_grad():
        net.weight.mul_(-2)
        torch.testing.assert_close(fast(image), net(image), rtol=1e-4, atol=1e-5)


def test_copies_pickles_and_files_keep_it(tmp_path: Path) -> None:
    net, image = nn.Conv2d(32, 32, 3, padding=1).eval(), torch.randn(1, 32, 6, 10)
    fast = compile(net, image, winograd=True)
    wanted = fast(image)
    assert fast.winograd and not compile(net, image).winograd
    saved = fast.save(tmp_path / "net.cvs")
    loaded = cs.load(saved)
    for other in (deepcopy(fast), pickle.loads(pickle.dumps(fast)), loaded, deepcopy(loaded)):
        assert torch.equal(other(image), wanted)
    assert pickle.loads(pickle.dumps(loaded)).winograd


def test_torch_compile_takes_it() -> None:
    net, image = nn.Conv2d(32, 32, 3, padding=1).eval(), torch.randn(1, 32, 6, 10)
    with torch.no_grad():
        fast = torch.compile(net, backend="convsmith", options={"winograd": True})
        assert torch.equal(fast(image), compile(net, image, winograd=True)(image))


@pytest.mark.parametrize("value", [1, "yes", None])
def test_another_value_is_an_error(value: Any) -> None:
    with pytest.raises(ArgumentError, match="winograd is True or False"):
        compile(nn.Conv2d(32, 32, 3), (1, 32, 6, 6), winograd=value)
