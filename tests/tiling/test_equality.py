"""Random draws of network, size, tile, origin and batch; `CONVSMITH_DRAWS=1000` makes as many."""

import os

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.errors import TraceError
from convsmith.tiling.budget import tile_spans
from convsmith.tiling.ranges import ranges
from convsmith.tiling.spans import slices
from tests.thoroughness import THOROUGH
from tests.tiling.nets import PRECISIONS, TOLERANCE, Chain, chains, shaken

TILINGS = 4
"""Draws of tile and origin for each draw of network, size and batch."""

DRAWS = -(-int(os.environ.get("CONVSMITH_DRAWS", "0")) // TILINGS)

pytestmark = pytest.mark.timeout(0 if DRAWS else 600)

ACTIVATIONS = [nn.ReLU, nn.Hardswish, nn.SiLU, nn.LeakyReLU]


def _moving(draw, channels):
    """A layer that moves with the image, and for which there is a kernel."""
    kernel, stride = draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, 2]))
    dilation = draw(st.integers(1, 2))
    extent = dilation * (kernel - 1) + 1
    padding = draw(st.integers(0, extent // 2))
    match draw(st.sampled_from(["conv", "conv", "max", "mean", "nearest", "linear", "transposed"])):
        case "conv":
            groups = draw(st.sampled_from([1, channels]))
            conv = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups)
            act = draw(st.sampled_from(ACTIVATIONS))
            return nn.Sequential(conv, nn.BatchNorm2d(channels), act())
        case "max":
            return nn.MaxPool2d(kernel + 1, stride, draw(st.integers(0, (kernel + 1) // 2)))
        case "mean":
            inside = draw(st.booleans())
            return nn.AvgPool2d(kernel + 1, stride, kernel // 2, count_include_pad=inside)
        case "nearest":
            return nn.Upsample(scale_factor=2.0, mode="nearest")
        case "linear":
            return nn.Upsample(scale_factor=2.0, mode="bilinear")
        case "transposed":
            return nn.ConvTranspose2d(channels, channels, kernel + 1, 2, kernel // 2)


@st.composite
def movers(draw, longest=5):
    """Chains of such layers, with sums and joins."""
    channels = draw(st.sampled_from([4, 8, 12]))
    layers = [nn.Conv2d(3, channels, 3, padding=1)]
    layers += [_moving(draw, channels) for _ in range(draw(st.integers(1, longest)))]
    branches = ["", *(draw(st.sampled_from(["", "", "add"])) for _ in layers[1:])]
    torch.manual_seed(draw(st.integers(0, 99)))
    return shaken(Chain(layers, branches))


@st.composite
def masks(draw, size):
    """A rectangle of the output, so that tiles begin anywhere; or None for all of it."""
    if draw(st.booleans()):
        return None
    mask = np.zeros(size, bool)
    spans = [sorted((draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1)))) for n in size]
    mask[tuple(slice(a, b + 1) for a, b in spans)] = True
    return mask


def tilings(data, model, channels, expect, sides, **settings):
    """Tiled results, each beside the whole image's where it was asked for."""
    batch = data.draw(st.integers(1, 3), "batch")
    size = data.draw(sides, "height"), data.draw(sides, "width")
    images = torch.rand(batch, channels, *size)
    expected = expect(images)
    assume(expected is not None and expected.size and np.isfinite(expected).all())
    for _ in range(TILINGS):
        mask = data.draw(masks(expected.shape[2:]), "mask")
        tile = [max(data.draw(st.integers(1, 48), "tile"), -(-n // 8)) for n in expected.shape[2:]]
        tiled = cs.tile(model, (1, channels, *size), tile=tile, **settings)
        workers = data.draw(st.integers(1, 2), "workers")
        found = tiled.run(images.numpy(), layout="NCYX", where=mask, workers=workers).array
        assert found.shape == expected.shape
        if mask is None:
            yield found, expected
        else:
            assert (found[:, :, ~mask] == 0).all()
            yield found[:, :, mask], expected[:, :, mask]


@pytest.mark.parametrize("precision", PRECISIONS)
@given(data=st.data())
@settings(max_examples=DRAWS or (10 if THOROUGH else 3))
def test_compiled_no_bit_differs(precision, data):
    pytest.importorskip("halide")
    model = data.draw(movers())

    def expect(images):
        try:
            model(images)
        except RuntimeError:
            return None  # the image is too small for this network
        threads = data.draw(st.integers(1, 2), "threads")
        return cs.compile(model, images, threads=threads, precision=precision)(images).numpy()

    chosen = {"backend": "compiled", "precision": precision}
    for found, expected in tilings(data, model, 3, expect, st.integers(16, 90), **chosen):
        assert (found == expected).all(), int((found != expected).sum())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kernel", [4, 5, 7])
@pytest.mark.parametrize("pool", [False, True])
def test_many_taps_and_a_stride_in_a_depthwise_kernel(kernel, pool, precision):
    pytest.importorskip("halide")
    layer = nn.AvgPool2d(kernel, 2) if pool else nn.Conv2d(8, 8, kernel, 2, groups=8)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), layer, nn.ReLU()).eval()
    image = torch.rand(1, 3, 24, 61)
    expected = cs.compile(model, image, threads=1, precision=precision)(image)[0].numpy()
    tiled = cs.tile(model, (1, 3, 8, 8), tile=3, backend="compiled", precision=precision)
    assert (tiled.run(image[0].numpy(), layout="CYX").array == expected).all()


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=DRAWS or 25)
def test_torch_within_rounding(data):
    channels, model = data.draw(chains(2))

    def expect(images):
        try:
            with torch.no_grad():
                return model(images).numpy()
        except (RuntimeError, ValueError, AssertionError):
            return None

    try:
        for found, expected in tilings(data, model, channels, expect, st.integers(1, 40)):
            assert abs(found - expected).max() <= TOLERANCE * max(abs(expected).max(), 1)
    except TraceError:
        assume(False)  # sizes that PyTorch computes otherwise without values


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=DRAWS or 40)
def test_a_pixel_less_changes_the_result(data):
    """Each side of what a tile reads is read: a NaN in the outermost pixels shows.

    Also where its weight is 0, as at the border of a bilinear map.
    """
    model = data.draw(movers()).double()
    size = data.draw(st.integers(30, 70)), data.draw(st.integers(30, 70))
    image = torch.rand(1, 3, *size, dtype=torch.float64) + 1
    try:
        whole = model(image)
    except RuntimeError:
        assume(False)
    survey = cs.tile(model, image).survey(size)
    spans = []
    for length in whole.shape[2:]:
        start = data.draw(st.integers(0, length - 1))
        spans.append((start, data.draw(st.integers(start + 1, length))))
    part = tile_spans(survey, spans)
    read = ranges(survey, {survey.output: part}).spans[survey.image.name, 0]
    for axis in (2, 3):
        for at in (read[axis][0], read[axis][1] - 1):
            other = image.clone()
            edge = [slice(None), slice(None), *slices(read)[2:]]
            edge[axis] = slice(at, at + 1)
            other[tuple(edge)] = torch.nan
            with torch.no_grad():
                assert (model(other) != whole)[slices(part)].any(), (axis, at, read)
