"""Sizes, values, parameters and multiply-adds of random layers equal torch's, to the unit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convsmith.arithmetic import convolution_matrix, evaluate, im2col
from tests.specifications import convolutions, pools, transposed
from tests.thoroughness import examples

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
MODULE = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_MODULE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
DIMS = pytest.mark.parametrize("dims", [1, 2, 3])
seeds = st.integers(0, 2**31)


def integers(seed, *shape):
    """Whole numbers in float64: sums are exact, so equality can be asked for."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(-9, 10, shape).astype(np.float64))


def padded(spec, image):
    flat = [side for pair in reversed(spec.padding) for side in pair]
    mode = "constant" if spec.padding_mode == "zeros" else spec.padding_mode
    return F.pad(image, flat, mode=mode)


def torch_conv(spec, image, weight, bias=None):
    return CONV[spec.dims](
        padded(spec, image), weight, bias, spec.stride, 0, spec.dilation, spec.groups
    )


@DIMS
@examples(400)
@given(data=st.data(), seed=seeds)
def test_convolution(dims, data, seed):
    spec, size = data.draw(convolutions(dims, ("zeros", "reflect", "replicate", "circular")))
    image = integers(seed, 2, spec.in_channels, *size)
    weight = integers(seed + 1, *spec.weight_shape)
    bias = integers(seed + 2, spec.out_channels) if spec.bias else None
    expected = torch_conv(spec, image, weight, bias)

    assert spec.output_shape(image.shape) == expected.shape
    assert torch.equal(torch.tensor(evaluate(spec, image[0], weight, bias)), expected[0])
    module = MODULE[dims](
        spec.in_channels, spec.out_channels, spec.kernel_size, groups=spec.groups, bias=spec.bias
    )
    assert spec.params == sum(p.numel() for p in module.parameters())
    with FlopCounterMode(display=False) as counter:
        torch_conv(spec, image, weight)
    assert 2 * spec.macs(size, batch=2) == counter.get_total_flops()

    product = convolution_matrix(spec, weight, size) @ image[0].numpy().ravel()
    unbiased = torch_conv(spec, image, weight)[0].numpy()
    assert np.array_equal(product, unbiased.ravel())
    patches = im2col(spec, image[0].numpy()).reshape(spec.groups, -1, unbiased[0].size)
    grouped = weight.numpy().reshape(spec.groups, spec.out_channels // spec.groups, -1) @ patches
    assert np.array_equal(grouped.ravel(), unbiased.ravel())


@DIMS
@examples(300)
@given(data=st.data(), seed=seeds)
def test_transposed_convolution(dims, data, seed):
    spec, size = data.draw(transposed(dims))
    image = integers(seed, 2, spec.in_channels, *size)
    weight = integers(seed + 1, *spec.weight_shape)
    bias = integers(seed + 2, spec.out_channels) if spec.bias else None
    padding = [low for low, _ in spec.padding]
    options = (spec.stride, padding, spec.output_padding, spec.groups, spec.dilation)
    expected = TRANSPOSED[dims](image, weight, bias, *options)

    assert spec.output_shape(image.shape) == expected.shape
    assert torch.equal(torch.tensor(evaluate(spec, image[0], weight, bias)), expected[0])
    module = TRANSPOSED_MODULE[dims](
        spec.in_channels, spec.out_channels, spec.kernel_size, groups=spec.groups, bias=spec.bias
    )
    assert spec.params == sum(p.numel() for p in module.parameters())
    with FlopCounterMode(display=False) as counter:
        TRANSPOSED[dims](image, weight, None, *options)
    assert 2 * spec.macs(size, batch=2) == counter.get_total_flops()

    product = convolution_matrix(spec, weight, size) @ image[0].numpy().ravel()
    unbiased = TRANSPOSED[dims](image, weight, None, *options)[0].numpy()
    assert np.array_equal(product, unbiased.ravel())


@DIMS
@examples(100)
@given(data=st.data())
def test_multiply_adds_on_real_values_are_what_ones_add_up_to(dims, data):
    conv, size = data.draw(convolutions(dims))
    image = torch.ones(1, conv.in_channels, *size, dtype=torch.float64)
    weight = torch.ones(conv.weight_shape, dtype=torch.float64)
    assert conv.real_macs(size) == torch_conv(conv, image, weight).sum()

    back, size = data.draw(transposed(dims))
    image = torch.ones(1, back.in_channels, *size, dtype=torch.float64)
    weight = torch.ones(back.weight_shape, dtype=torch.float64)
    padding = [low for low, _ in back.padding]
    options = (back.stride, padding, back.output_padding, back.groups, back.dilation)
    assert back.real_macs(size) == TRANSPOSED[dims](image, weight, None, *options).sum()


@DIMS
@examples(200)
@given(data=st.data(), seed=seeds)
def test_pool(dims, data, seed):
    spec, size, channels = data.draw(pools(dims))
    image = integers(seed, 1, channels, *size)
    padding = [low for low, _ in spec.padding]
    if spec.kind == "max":
        expected = MAX[dims](
            image, spec.kernel_size, spec.stride, padding, spec.dilation, spec.ceil_mode
        )
    else:
        options = (spec.stride, padding, spec.ceil_mode, spec.count_include_pad)
        expected = AVERAGE[dims](image, spec.kernel_size, *options)
    assert spec.output_shape(image.shape) == expected.shape
    ours = torch.tensor(evaluate(spec, image[0]), dtype=torch.float64)
    assert torch.allclose(ours, expected[0], rtol=1e-14, atol=1e-14)


@DIMS
@examples(100)
@given(data=st.data(), seed=seeds)
def test_the_matrix_of_a_transposed_convolution_is_the_transpose(dims, data, seed):
    conv, size = data.draw(convolutions(dims))
    weight = integers(seed, *conv.weight_shape)
    out = conv.output_size(size)
    smallest = conv.transpose().windows  # the size it gives back without output_padding
    extra = tuple(
        n - ((o - 1) * w.stride - sum(w.padding) + w.extent) for n, o, w in zip(size, out, smallest)
    )
    if any(e >= max(w.stride, w.dilation) for e, w in zip(extra, smallest)):
        return  # flooring dropped more than output_padding may give back
    back = conv.transpose(output_padding=extra)
    assert back.output_size(out) == size
    forward = convolution_matrix(conv, weight, size)
    assert (convolution_matrix(back, weight, out) != forward.T).nnz == 0
