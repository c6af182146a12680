"""Random stages, and what torch says of them."""

from __future__ import annotations

import random
from dataclasses import replace

import torch
import torch.nn.functional as F

import convsmith as cs
from convsmith.arithmetic.window import PADDING_MODES
from convsmith.draw.live.activations import ACTIVATIONS
from tests.arithmetic.test_against_torch import AVERAGE, CONV, MAX, TRANSPOSED, torch_conv

LENGTHS = {1: 14, 2: 8, 3: 4}


def some(rng, dims, low, high):
    return tuple(rng.randint(low, high) for _ in range(dims))


def random_layer(rng, channels, dims):
    """A layer that takes so many channels; it may have no output on a map that is too small."""
    kernel = some(rng, dims, 1, 3)
    stride = some(rng, dims, 1, 2)
    dilation = some(rng, dims, 1, rng.choice([1, 3]))
    kind = rng.choice(["conv", "conv", "conv", "transposed", "max", "average"])
    if kind in ("max", "average"):
        dilation = dilation if kind == "max" else (1,) * dims
        padding = tuple(rng.randint(0, k // 2) for k in kernel)
        whole = rng.random() < 0.5
        return cs.Pool(kernel, stride, padding, dilation, rng.random() < 0.5, kind, whole, dims)
    groups = rng.choice([g for g in (1, 2, 3, channels) if channels % g == 0])
    outs = groups * rng.randint(1, 2)
    padding = tuple((rng.randint(0, 2), rng.randint(0, 2)) for _ in range(dims))
    if kind == "transposed":
        extra = tuple(rng.randint(0, max(s, d) - 1) for s, d in zip(stride, dilation))
        return cs.ConvTranspose(
            channels, outs, kernel, stride, padding, extra, groups, True, dilation, dims
        )
    mode = rng.choice(PADDING_MODES)
    return cs.Conv(channels, outs, kernel, stride, padding, dilation, groups, True, mode, dims=dims)


def random_stage(rng):
    """One to four layers of 1 to 3 axes, whole numbers as values."""
    while True:
        dims = rng.choice([1, 1, 2, 2, 2, 3])
        first = channels = rng.randint(1, 3)
        size = some(rng, dims, 2, LENGTHS[dims])
        layers, lengths = [], size
        for _ in range(rng.randint(1, 4)):
            layer = random_layer(rng, channels, dims)
            # torch's avg_pool3d refuses, without need, a map smaller than its kernel
            small = any(n < k for n, k in zip(lengths, layer.kernel_size))
            if dims == 3 and small and getattr(layer, "kind", "") == "average":
                break
            try:
                lengths = layer.output_size(lengths)
            except cs.ArgumentError:
                break
            if max(lengths) > 2 * LENGTHS[dims]:
                break
            layers.append(layer)
            channels = getattr(layer, "out_channels", channels)
        if not layers:
            continue
        generator = torch.Generator().manual_seed(rng.randrange(2**31))

        def whole(*shape):
            return torch.randint(-4, 5, shape, generator=generator).tolist()  # noqa: B023

        pools = [isinstance(layer, cs.Pool) for layer in layers]
        stage = cs.draw.stage(
            layers,
            size,
            values=whole(first, *size),
            weights=[None if p else whole(*x.weight_shape) for x, p in zip(layers, pools)],
            biases=[
                None if p or rng.random() < 0.5 else whole(x.out_channels)
                for x, p in zip(layers, pools)
            ],
        )
        if rng.random() < 0.5:
            return stage
        some_or_none = [None, None, *ACTIVATIONS]
        return replace(stage, activations=tuple(rng.choice(some_or_none) for _ in layers))


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def stamped(layer, image, weight, bias=None):
    """A transposed convolution whose padding differs from side to side: uncut, then cut."""
    dims = layer.dims
    full = TRANSPOSED[dims](image, weight, None, layer.stride, 0, 0, layer.groups, layer.dilation)
    sides = [
        side
        for (low, high), extra in zip(reversed(layer.padding), reversed(layer.output_padding))
        for side in (-low, extra - high)
    ]
    cut = F.pad(full, sides)
    return cut if bias is None else cut + bias.reshape(-1, *[1] * dims)


def applied(layer, image, weight, bias):
    """What torch computes."""
    if isinstance(layer, cs.ConvTranspose):
        return stamped(layer, image, weight, bias)
    if isinstance(layer, cs.Conv):
        return torch_conv(layer, image, weight, bias)
    padding = [low for low, _ in layer.padding]
    if layer.kind == "max":
        return MAX[layer.dims](
            image, layer.kernel_size, layer.stride, padding, layer.dilation, layer.ceil_mode
        )
    return AVERAGE[layer.dims](
        image, layer.kernel_size, layer.stride, padding, layer.ceil_mode, layer.count_include_pad
    )


def maps(stage):
    """The values of every map, by torch."""
    found = [tensor(stage.values)[None]]
    names = stage.activations or [None] * len(stage.layers)
    for layer, weight, bias, name in zip(stage.layers, stage.weights, stage.biases, names):
        arrays = (None if each is None else tensor(each) for each in (weight, bias))
        sums = applied(layer, found[-1], *arrays)
        found.append(sums if name is None else getattr(F, name)(sums))
    return [each[0] for each in found]


def counted(layer, image):
    """The same layer with nothing but ones: it adds up in how many ways its values are read."""
    channels = image.shape[1]
    if isinstance(layer, cs.Pool):
        outs = layer.output_size(tuple(image.shape[2:]))
        sides = []
        for window, length, out in zip(
            reversed(layer.windows), reversed(image.shape[2:]), reversed(outs)
        ):
            last = (out - 1) * window.stride + window.extent
            sides += [window.padding[0], max(0, last - length - window.padding[0])]
        ones = torch.ones(channels, 1, *layer.kernel_size, dtype=torch.float64)
        conv = CONV[layer.dims]
        found = conv(F.pad(image, sides), ones, None, layer.stride, 0, layer.dilation, channels)
        return found[(..., *(slice(out) for out in outs))]
    ones = torch.ones(layer.weight_shape, dtype=torch.float64)
    if isinstance(layer, cs.ConvTranspose):
        return stamped(layer, image, ones)
    return torch_conv(layer, image, ones)


def ways(stage, shapes, at, index):
    """Of a value: the ways back to each map before it, and on to each map after it."""
    start = torch.zeros(shapes[at], dtype=torch.float64)
    start.view(-1)[index] = 1
    forward, value = [], start[None]
    for layer in stage.layers[at:]:
        value = counted(layer, value)
        forward.append(value[0])
    back, after = [], start[None]
    for layer, shape in zip(reversed(stage.layers[:at]), reversed(shapes[:at])):
        before = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
        (after,) = torch.autograd.grad(counted(layer, before), before, after)
        back.append(after[0])
    return back[::-1], forward


def generator(seed):
    return random.Random(seed)
