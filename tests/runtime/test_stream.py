"""Streams: an image that comes row by row gives the bits of the image at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.runtime.precision import Precision
from tests import networks
from tests.tiling.nets import PRECISIONS, UNet, shaken

pytest.importorskip("halide")
from convsmith.runtime.execution import stream as module
from convsmith.runtime.execution.stream import Stream
from convsmith.runtime.graph.rings import Rings


def mobile():
    return nn.Sequential(
        networks.conv_bn(3, 16, 3, 2, 1),
        networks.Inverted(16, 16, 1, 4),
        networks.Inverted(16, 24, 2, 6),
        nn.Conv2d(24, 5, 1),
        nn.Upsample(scale_factor=4, mode="bilinear"),
    )


MODELS = {
    "skips": lambda: UNet(width=8),
    "mobile": mobile,
    "strided": lambda: networks.resnet18()[:4],
}
COMPILED = {}


def compiled(name, threads, precision="float32"):
    key = name, threads, precision
    if key not in COMPILED:
        torch.manual_seed(1)
        COMPILED[key] = cs.compile(
            shaken(MODELS[name]()), (1, 3, 64, 64), threads=threads, precision=precision
        )
    return COMPILED[key]


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@given(
    name=st.sampled_from(sorted(MODELS)),
    rows=st.integers(2, 20).map(lambda n: 8 * n),
    pixels=st.integers(2, 30).map(lambda n: 8 * n),
    last=st.booleans(),
    threads=st.sampled_from([1, 2]),
    window=st.sampled_from([1, 20_000, 1 << 22]),
)
@settings(deadline=None)
def test_rows_that_stream_give_the_bits_of_the_whole(
    precision, name, rows, pixels, last, threads, window
):
    network = compiled(name, threads, precision)
    image = torch.rand(3, rows, pixels)
    expected = network(image[None])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW", window)
        stream = Stream(network.regions[0], (rows, pixels), last)
    fed, given = [0], [0]
    result = torch.full_like(expected, torch.nan)

    def feed(start, stop, out):
        assert start == fed[-1] and out.shape == (3, stop - start, pixels)
        assert (out.stride(0) == 1) == last
        fed.append(stop)
        out.copy_(image[:, start:stop])

    for first, values in stream.run(feed):
        assert first == given[-1]
        given.append(first + values.shape[2])
        result[:, :, first : given[-1]] = values
    assert (fed[-1], given[-1]) == (rows, expected.shape[2])
    assert torch.equal(result, expected)


def test_a_stream_that_is_left_early_can_be_run_again():
    network = compiled("skips", 2)
    image = torch.rand(3, 160, 800)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW", 1)
        stream = Stream(network.regions[0], (160, 800))

    def feed(start, stop, out):
        out.copy_(image[:, start:stop])

    for _ in stream.run(feed):
        break
    rows = [values.clone() for _, values in stream.run(feed)]
    assert len(rows) > 4
    assert torch.equal(torch.cat(rows, 2), network(image[None]))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_rings_hold_is_known_before_anything_is_compiled(name, precision):
    model = shaken(MODELS[name]())
    rings = Rings.of(cs.trace(model, (1, 3, 256, 512)), Precision(precision))
    assert rings is not None
    part = torch.rand(1, 3, 128, 192)
    fast = cs.compile(model, part, threads=2, precision=precision)
    stream = Stream(fast.regions[0], (128, 192))
    program = fast.regions[0].program(part)
    assert rings.nbytes((128, 192), 2) == program.memory
    windows = stream.nbytes - program.memory
    assert 0 < windows <= 6 * module.WINDOW


def test_what_torch_has_a_share_in_does_not_stream():
    softmax = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(2))
    assert Rings.of(cs.trace(softmax, (1, 3, 16, 16))) is None
    assert not cs.compile(softmax.eval(), (1, 3, 16, 16)).in_one_region
    assert not cs.compile(nn.Identity(), (1, 3, 16, 16)).in_one_region
    assert compiled("mobile", 1).in_one_region
