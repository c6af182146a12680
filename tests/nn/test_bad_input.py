"""What no separable layer can be is refused in one line that names it."""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convsmith.errors import ArgumentError
from convsmith.nn import (
    DepthwiseSeparableConv1d,
    DepthwiseSeparableConv2d,
    DepthwiseSeparableConv3d,
    DepthwiseSeparableConvTranspose2d,
    factored,
)


class Standardised(nn.Conv2d):
    """A convolution that computes with another weight than the one it holds."""

    def forward(self, input):
        weight = self.weight - self.weight.mean()
        return F.conv2d(input, weight, self.bias)


Conv, Transposed = DepthwiseSeparableConv2d, DepthwiseSeparableConvTranspose2d
INTEGER = "must be an integer of at least"
SIZES = "must be an int or "
ARGUMENTS = [
    (lambda: Conv(6, 10, 3, groups=4), "groups must divide in_channels: 6 is not a multiple of 4"),
    (
        lambda: Conv(6, 10, 3, groups=3),
        "groups must divide out_channels: 10 is not a multiple of 3",
    ),
    (lambda: Conv(6, 10, 3, groups=5), "groups must divide in_channels: 6 is not a multiple of 5"),
    (lambda: Transposed(6, 10, 3, groups=3), "out_channels: 10 is not a multiple of 3"),
    (lambda: Conv(6, 10, 3, groups=0), f"groups {INTEGER} 1, not 0"),
    (lambda: Conv(0, 10, 3), f"in_channels {INTEGER} 1, not 0"),
    (lambda: Conv(3, True, 3), f"out_channels {INTEGER} 1, not True"),
    (lambda: Conv(3, 4, 3, multiplier=0), f"multiplier {INTEGER} 1, not 0"),
    (lambda: Conv(3, 4, 3, multiplier=1.5), "multiplier must be an integer, not 1.5"),
    (lambda: Conv(3, 4, 0), f"kernel_size {INTEGER} 1, not 0"),
    (lambda: Conv(3, 4, 2.5), "kernel_size must be an integer, not 2.5"),
    (lambda: Conv(3, 4, "3"), "kernel_size must be an integer, not '3'"),
    (lambda: Conv(3, 4, (3, 3, 3)), rf"kernel_size {SIZES}2 ints, not \(3, 3, 3\)"),
    (lambda: Conv(3, 4, (3, 0)), f"kernel_size {INTEGER} 1, not 0"),
    (lambda: DepthwiseSeparableConv1d(3, 4, (3, 3)), f"kernel_size {SIZES}a sequence of 1 int"),
    (lambda: DepthwiseSeparableConv3d(3, 4, (3, 3)), f"kernel_size {SIZES}3 ints"),
    (lambda: Conv(3, 4, 3, stride=(1, 1, 1)), "stride must be"),
    (lambda: Conv(3, 4, 3, dilation=0), "dilation must be"),
    (lambda: Conv(3, 4, 3, padding=-1), f"padding {INTEGER} 0, not -1"),
    (lambda: Conv(3, 4, 3, padding=((0, 1), 2)), rf"padding {SIZES}2 ints, not \(\(0, 1\), 2\)"),
    (lambda: Conv(3, 4, 3, padding=((1, 1), (1, 1))), f"padding {SIZES}2 ints"),
    (lambda: Transposed(3, 4, 3, padding=((1, 1), 0)), f"padding {SIZES}2 ints"),
    (
        lambda: DepthwiseSeparableConv1d(3, 4, 3, padding=((0, 1),)),
        f"padding {SIZES}a sequence of 1 int",
    ),
    (lambda: Conv(3, 4, 3, padding="smae"), "'same', 'valid', not 'smae'; did you mean 'same'?"),
    (lambda: Conv(3, 4, 3, stride=(1, 2), padding="same"), r"stride must be 1, not \(1, 2\)"),
    (lambda: Conv(3, 4, 3, padding_mode="reflection"), "did you mean 'reflect'"),
    (lambda: Transposed(3, 4, 3, padding_mode="reflect"), "must be 'zeros', .*, not 'reflect'"),
    (lambda: Transposed(3, 4, 3, padding="same"), "padding must be an integer, not 'same'"),
    (lambda: Transposed(3, 4, 3, stride=2, output_padding=2), "smaller .*: 2 is not below 2"),
    (lambda: Transposed(3, 4, 3, (2, 1), output_padding=1), "smaller .*: 1 is not below 1"),
    (lambda: Conv(3, 4, 3, norm=nn.BatchNorm2d(4)), r"norm\(channels\) .*, not a module: Batch"),
    (lambda: Conv(3, 4, 3, norm=nn.Sequential(nn.ReLU())), "not a module: Sequential"),
    (lambda: Conv(3, 4, 3, activation=nn.ReLU()), r"activation\(\) .*, not a module: ReLU"),
    (lambda: Conv(3, 4, 3, activation=F.relu), r"activation\(\) -> nn.Module; calling it failed"),
    (lambda: Conv(3, 4, 3, mid_norm="batch"), "mid_norm must be a callable, .*, not 'batch'"),
    (lambda: Conv(3, 4, 3, mid_activation=lambda: F.relu), "mid_activation .* it returned <funct"),
]
CONVOLUTIONS = [
    (lambda: Conv.from_conv(nn.Linear(3, 4)), "conv must be an nn.Conv2d, not Linear"),
    (lambda: Conv.from_conv(torch.zeros(4, 3, 3, 3)), "an nn.Conv2d, not Tensor"),
    (lambda: Conv.from_conv(nn.Conv1d(3, 4, 3)), "an nn.Conv2d, not Conv1d"),
    (lambda: Conv.from_conv(nn.ConvTranspose2d(3, 4, 3)), "an nn.Conv2d, not ConvTranspose2d"),
    (lambda: Transposed.from_conv(nn.Conv2d(3, 4, 3)), "an nn.ConvTranspose2d, not Conv2d"),
    (lambda: Conv.from_conv(nn.LazyConv2d(4, 3)), "with weights; run this LazyConv2d once"),
    (lambda: Conv.from_conv(Standardised(3, 4, 3)), r"Standardised overrides its forward\(\)"),
    (lambda: Conv.from_conv(nn.Conv2d(3, 4, 3, device="meta")), "'meta' and has no values"),
    (lambda: Conv.from_conv(nn.Conv2d(3, 4, 3), 5), "multiplier=5 exceeds the full rank 4"),
    (lambda: Conv.from_conv(nn.Conv2d(3, 4, 3), 0), f"from_conv: multiplier {INTEGER} 1, not 0"),
]


@pytest.mark.parametrize(("make", "message"), ARGUMENTS + CONVOLUTIONS)
def test_refused_in_one_line(make, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("make", [make for make, _ in ARGUMENTS])
def test_the_layer_is_named(make):
    with pytest.raises(ArgumentError, match=r"^DepthwiseSeparableConv(1d|2d|3d|Transpose2d): "):
        make()


@pytest.mark.parametrize("name", sorted(factored._LAYERS))
def test_an_unknown_keyword_is_refused_in_the_name_of_the_public_class(name):
    layer = factored.layer_named(name)
    known = [each for each in inspect.signature(layer).parameters if len(each) > 4]
    for keyword in known:
        said = rf"^{name}\(\) got an unexpected keyword argument 'x{keyword}'; did you mean"
        with pytest.raises(TypeError, match=rf"{said} '{keyword}'\?$"):
            layer(3, 4, 3, **{f"x{keyword}": 2})
