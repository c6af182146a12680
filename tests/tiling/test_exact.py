"""Tiles together are the whole image's result: any network, size, tile, origin and batch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.errors import TraceError
from tests import networks
from tests.thoroughness import examples
from tests.tiling.nets import LAYOUT, TOLERANCE, UNet, chains, differs, shaken, whole


@pytest.mark.parametrize("dims", [1, 2, 3])
@given(data=st.data())
@examples(100)  # each draws, traces and tiles a network
def test_random_networks(dims, data):
    channels, model = data.draw(chains(dims))
    side = st.integers(1, {1: 60, 2: 30, 3: 9}[dims])
    image = torch.rand(channels, *[data.draw(side) for _ in range(dims)])
    try:
        expected = whole(model, image)
    except (RuntimeError, ValueError, AssertionError):
        assume(False)  # the image is too small for this network
    assume(expected.size and np.isfinite(expected).all())
    most = {1: 200, 2: 12, 3: 4}[dims]  # tiles along an axis
    tile = [max(data.draw(st.integers(1, 20)), -(-n // most)) for n in expected.shape[1:]]
    try:
        tiled = cs.tile(model, (1, *image.shape), tile=tile)
        found = tiled.run(image.numpy(), layout=LAYOUT[dims]).array
    except TraceError:
        assume(False)  # sizes that PyTorch computes otherwise without values
    assert found.shape == expected.shape
    assert abs(found - expected).max() <= TOLERANCE * max(abs(expected).max(), 1)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("up", ["transposed", "bilinear"])
@pytest.mark.parametrize("size", [(37, 53), (8, 61), (16, 16)])
def test_borders_have_the_padding_of_the_whole_image(mode, up, size):
    model = shaken(UNet(up=up, mode=mode))
    assert differs(model, torch.rand(3, *size), tile=16) < TOLERANCE


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_unets_of_all_dimensions(dims, depth):
    size = {1: (151,), 2: (41, 67), 3: (17, 19, 23)}[dims]
    model = shaken(UNet(dims, depth, width=2))
    assert differs(model, torch.rand(3, *size), tile=8) < TOLERANCE


@pytest.mark.parametrize(
    "features",
    [
        networks.alexnet_features,
        lambda: networks.resnet18()[:-3],
        lambda: networks.mobilenet_v2()[:-4],
    ],
)
def test_backbones(features):
    assert differs(shaken(features()), torch.rand(3, 131, 173), tile=2) < TOLERANCE


class Parts(nn.Module):
    """Operations that rearrange: views, shuffles, splits, rolls, slices, repeats."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.norm = nn.LayerNorm(16)

    def forward(self, x):
        x = self.a(x)
        n, c, h, w = x.shape
        x = x.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        a, b = self.b(x).chunk(2, 1)
        x = torch.cat([a * b.sigmoid(), F.glu(x, 1)], 1)
        x = F.pixel_unshuffle(F.pixel_shuffle(x, 2)[:, :, 1:-1, ::2], 1)
        x = torch.roll(x, (3, -2), (2, 3)).flip(3)
        x = torch.stack([x, x * 2]).sum(0) + x.mean(1, keepdim=True) + x.amax(1, keepdim=True)
        top, bottom = x.split([5, x.shape[2] - 5], 2)
        x = torch.cat([bottom, top.repeat(1, 1, 2, 1), torch.zeros_like(top)], 2)
        return F.softmax(x, 1)


@pytest.mark.parametrize("tile", [1, 5, 16, 99])
def test_rearrangements(tile):
    assert differs(Parts().eval(), torch.rand(3, 19, 24), tile=tile) < TOLERANCE


def test_operations_in_place_are_taken_out():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x):
            y = self.a(x)
            z = y.relu_()
            y += 1
            return y * z

    assert differs(InPlace(), torch.rand(3, 20, 30), tile=7) < TOLERANCE


@pytest.mark.parametrize("n", [2, 3])
def test_a_batch_is_as_many_images(n):
    model = shaken(UNet())
    images = torch.rand(n, 3, 33, 29)
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16).run(images.numpy()).array
    with torch.no_grad():
        expected = model(images).numpy()
    assert tiled.shape == expected.shape
    assert abs(tiled - expected).max() <= TOLERANCE * abs(expected).max()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
@examples(20)
def test_images_smaller_than_a_tile_or_the_field(h, w, tile):
    model = shaken(nn.Sequential(nn.Conv2d(1, 2, 5, padding=2), nn.BatchNorm2d(2),
                                 nn.Conv2d(2, 2, 9, padding=8, dilation=2)))  # fmt: skip
    assert differs(model, torch.rand(1, h, w), tile=tile) < TOLERANCE


def test_a_grid_of_coordinates_is_that_of_the_whole_image():
    class Coordinates(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(5, 4, 3, padding=1)

        def forward(self, x):
            axes = [torch.linspace(0, 1, length) for length in x.shape[2:]]
            grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
            rows = torch.arange(x.shape[2])[:, None] / 10
            return self.conv(torch.cat([x, grid], 1)) + rows / x.shape[3]

    assert differs(Coordinates(), torch.rand(3, 40, 30), tile=9) < TOLERANCE
    along = type("Along", (nn.Module,), {
        "forward": lambda self, x: torch.cat([x, torch.ones(1, 3, x.shape[2], 4)], 3)
    })  # fmt: skip
    with pytest.raises(cs.ConvsmithError, match="joins a fixed map along an axis"):
        differs(along(), torch.rand(3, 40, 30), tile=9)


def test_far_positions_follow_the_rounding_of_pytorch():
    """In float32 the place of position 100,000 is rounded; tiles must round as the whole does."""
    for mode in ("nearest", "linear"):
        model = nn.Upsample(scale_factor=3.3, mode=mode)
        assert differs(model, torch.rand(1, 40_000), tile=5000) < TOLERANCE


def test_a_model_is_left_as_it_was():
    model = UNet()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cs.tile(model, (1, 3, 8, 8), tile=8).run(np.random.rand(3, 20, 20).astype("float32"))
    assert model.training and not model.down[0]._forward_hooks
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_not_a_number_goes_where_it_goes_in_the_whole_image():
    model = shaken(UNet())
    image = torch.rand(3, 40, 40)
    image[:, 20, 11] = float("nan")
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16).run(image.numpy()).array
    assert (np.isnan(tiled) == np.isnan(whole(model, image))).all()


def test_double_and_half_precision():
    model = shaken(UNet()).double()
    image = torch.rand(3, 30, 30, dtype=torch.float64)
    tiled = cs.tile(model, image[None], tile=16).run(image.numpy()).array
    assert tiled.dtype == np.float64
    assert abs(tiled - whole(model, image)).max() < 1e-13
    half = shaken(UNet()).bfloat16()
    assert cs.tile(half, (1, 3, 8, 8), tile=16).run(image.numpy()).array.dtype == np.float32


def test_workers_share_the_tiles_and_give_the_same():
    model = shaken(UNet())
    image = torch.rand(3, 50, 60)
    one, two = (
        cs.tile(model, (1, 3, 8, 8), tile=16).run(image.numpy(), workers=n).array for n in (1, 2)
    )
    assert abs(one - two).max() <= TOLERANCE * abs(one).max()
