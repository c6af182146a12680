"""Patches and their moments against the loops of the reference evaluation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convsmith.arithmetic import im2col
from convsmith.errors import ArgumentError
from convsmith.measure import image_batches
from convsmith.nn.approximation import decomposition_errors
from convsmith.rewrite.lightening.fit import moments as statistics
from convsmith.rewrite.lightening.fit.moments import patch_moments, patches
from tests.specifications import convolutions

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def module_of(spec):
    return CONV[spec.dims](
        spec.in_channels, spec.out_channels, spec.kernel_size, spec.stride,
        [low for low, _ in spec.padding], spec.dilation, spec.groups, spec.bias, spec.padding_mode,
    )  # fmt: skip


@pytest.mark.parametrize("dims", [1, 2, 3])
@given(data=st.data())
def test_patches_are_the_columns_of_im2col(dims, data):
    modes = ("zeros", "reflect", "replicate", "circular")
    spec, size = data.draw(convolutions(dims, modes))
    if any(low != high for low, high in spec.padding):
        return
    image = torch.rand(2, spec.in_channels, *size, dtype=torch.float64)
    found = patches(module_of(spec), image)
    for one, expected in zip(found, image):
        assert torch.equal(one.flatten(0, 1), torch.from_numpy(im2col(spec, expected.numpy())))


@pytest.mark.parametrize("chunk", [1, 1000, 2**23])
def test_moments_are_those_of_all_patches_however_they_are_chunked(chunk, monkeypatch):
    monkeypatch.setattr(statistics, "_CHUNK", chunk)
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Conv2d(5, 4, 3, 2, 1)).double()
    images = torch.rand(7, 3, 9, 11, dtype=torch.float64)
    found = patch_moments(model, list(images.split(3)), ["2"])["2"]
    with torch.no_grad():
        seen = patches(model[2], model[:2](images)).transpose(0, 1).permute(0, 2, 1, 3).flatten(2)
    assert found.count == seen.shape[2]
    for channel, values in enumerate(seen):
        assert torch.allclose(
            found.covariance[channel], torch.cov(values, correction=0), atol=1e-12
        )


def test_decomposition_errors_are_what_the_layer_really_loses():
    """One input channel, so that nothing is correlated with another: the formula is exact."""
    torch.manual_seed(1)
    conv = nn.Conv2d(1, 6, 3, bias=False).double()
    images = torch.rand(4, 1, 12, 12, dtype=torch.float64).cumsum(2)
    covariance = patch_moments(nn.Sequential(conv), [images], ["0"])["0"].covariance
    errors = decomposition_errors(conv, covariance)
    from convsmith.nn import DepthwiseSeparableConv2d

    with torch.no_grad():
        wanted = conv(images)
        for multiplier in range(1, 7):
            light = DepthwiseSeparableConv2d.from_conv(conv, multiplier, moments=covariance)
            lost = (light(images) - wanted).transpose(0, 1).flatten(1)
            share = (
                lost.var(1, correction=0).sum()
                / wanted.transpose(0, 1).flatten(1).var(1, correction=0).sum()
            )
            assert float(share) == pytest.approx(errors[multiplier - 1], rel=1e-6, abs=1e-12)
    assert errors[-1] == pytest.approx(0, abs=1e-12)


def test_calibration_images_of_every_kind():
    whole = torch.rand(10, 1, 4, 4)
    for images in (whole, whole.numpy(), whole.split(3), [(x, 0) for x in whole.split(4)],
                   [{"image": whole}], iter(whole.split(5))):  # fmt: skip
        assert torch.equal(torch.cat(image_batches(images)), whole)
    assert sum(map(len, image_batches(whole, limit=7))) == 7
    assert sum(map(len, image_batches(whole.split(3), limit=7))) == 7


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(0, 1, 4, 4), "no images"),
        ([], "no images"),
        (torch.zeros(3, 4), "shaped"),
        (torch.zeros(3, 1, 4, 4, dtype=torch.uint8), "floating-point"),
        ([torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 5, 4)], "one shape"),
        ("folder/", "not str"),
        (7, "not int"),
    ],
)
def test_what_is_no_images_is_refused(images, message):
    with pytest.raises(ArgumentError, match=message):
        image_batches(images)
