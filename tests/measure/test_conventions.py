"""Which dilations cannot belong to weights trained with strides."""

from __future__ import annotations

import pytest
from torch import nn

import convsmith as cs
from convsmith.measure.conventions import warnings_of
from tests.networks import mobilenet_v2, resnet


def dilate_all(module, dilation):
    """The convention of segmentation_models_pytorch: every convolution of a stage."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            conv.stride, conv.dilation = (1, 1), (dilation, dilation)
            conv.padding = tuple(dilation * (k - 1) // 2 for k in conv.kernel_size)


def found(model, size=64):
    return warnings_of(cs.trace(model, (1, 3, size, size)))


def test_the_first_convolution_of_a_stage():
    model = resnet((1, 2, 2, 2), 1, width=8)
    assert found(model) == ()
    dilate_all(model[7], 2)
    dilate_all(model[8], 2)
    (line,) = found(model)
    assert line.startswith("7.body.0.0: dilation 2, but its input has rate 1: this cannot belong")


def test_the_first_convolution_of_a_bottleneck_is_doubtful():
    model = resnet((1, 2, 2, 2), 4, width=8)
    dilate_all(model[7], 2)
    dilate_all(model[8], 2)
    (line,) = found(model)
    assert line.startswith("7.body.1.0: dilation 2 on an input of rate 1") and "7.body.0.0" in line


def test_the_converted_depthwise_layer_itself():
    model = mobilenet_v2()[:-3]
    block = 14  # the last one with a stride
    assert model[block].body[1][0].stride == (2, 2)
    dilate_all(model[block], 2)
    lines = found(model)
    assert len(lines) == 1 and lines[0].startswith(f"{block}.body.1.0: dilation 2 on an input")


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize(
    "build",
    [
        lambda: resnet((1, 2, 2, 2), 1, width=8)[:-3],
        lambda: resnet((1, 2, 2, 2), 4, width=8)[:-3],
        lambda: mobilenet_v2()[:-4],
    ],
)
def test_what_dilate_makes_is_right(build, output_stride):
    assert found(cs.dilate(build(), (1, 3, 64, 64), output_stride=output_stride).model) == ()


class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 8, 3, 1, 1))
        self.arms = nn.ModuleList(nn.Conv2d(8, 8, 3, 1, d, d) for d in (2, 4, 6))

    def forward(self, x):
        x = self.stem(x)
        return sum(arm(x) for arm in self.arms)


def test_dilations_of_a_design_are_left_alone():
    rates = [nn.Conv2d(8, 8, 3, 1, d, d) for d in (1, 2, 5, 1, 2, 5)]
    assert found(nn.Sequential(nn.Conv2d(3, 8, 3, 8, 1), *rates)) == ()
    assert found(Pyramid()) == ()
