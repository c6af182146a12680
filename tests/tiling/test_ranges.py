"""Ranges: what a tile reads is what its result depends on, and not a pixel more or less."""

import numpy as np
import pytest
import torch

import convsmith as cs
from convsmith.tiling.budget import tile_spans
from convsmith.tiling.ranges import ranges
from convsmith.tiling.spans import slices
from tests.tiling.nets import UNet, shaken

SIZE = {1: (96,), 2: (48, 56), 3: (24, 24, 24)}
TILE = {1: ((40, 48),), 2: ((16, 24), (24, 32)), 3: ((8, 12), (8, 16), (12, 16))}


def read_and_probed(model, dims):
    """The span of the image that a tile reads, and the one that its gradient is non-zero in."""
    survey = cs.tile(model, (1, 3, *[8] * dims)).survey(SIZE[dims])
    part = tile_spans(survey, TILE[dims])
    needs = ranges(survey, {survey.output: part})
    read = needs.spans[survey.image.name, 0][2:]
    image = torch.rand(1, 3, *SIZE[dims], dtype=torch.float64, requires_grad=True)
    model.double()(image)[slices(part)].sum().backward()
    places = image.grad[0].abs().sum(0).nonzero().T
    return read, tuple((int(axis.min()), int(axis.max()) + 1) for axis in places)


class Smooth(torch.nn.Module):
    """A network whose every weight is positive, so that a gradient is zero only off the field."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        for module in model.modules():
            if isinstance(module, torch.nn.ReLU):
                raise AssertionError("no ReLU: it may cut a gradient off")
        for parameter in model.parameters():
            parameter.data.abs_().add_(0.01)

    def forward(self, x):
        return self.model(x)


def without_relu(model):
    for name, child in model.named_children():
        if isinstance(child, torch.nn.ReLU):
            setattr(model, name, torch.nn.Softplus())
        else:
            without_relu(child)
    return model


@pytest.mark.parametrize("up", ["transposed", "bilinear"])
@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_halo_is_the_gradient_probes(dims, depth, up, monkeypatch):
    # The gradient of a max pool is that of one pixel: a mean pool reads the same ones.
    means = {1: torch.nn.functional.avg_pool1d, 2: torch.nn.functional.avg_pool2d,
             3: torch.nn.functional.avg_pool3d}  # fmt: skip
    monkeypatch.setattr("tests.tiling.nets.MAX_POOL", means)
    model = Smooth(without_relu(shaken(UNet(dims, depth, width=2, up=up)))).eval()
    read, probed = read_and_probed(model, dims)
    assert read == probed


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_one_pixel_less_changes_the_result(axis, side):
    model = shaken(UNet(depth=3)).double()
    survey = cs.tile(model, (1, 3, 8, 8)).survey((48, 56))
    part = tile_spans(survey, TILE[2])
    read = ranges(survey, {survey.output: part}).spans[survey.image.name, 0]
    changed = False
    for seed in range(20):
        torch.manual_seed(seed)
        image = torch.rand(1, 3, 48, 56, dtype=torch.float64)
        other = image.clone()
        edge = [slice(None), slice(None), *slices(read)[2:]]
        at = read[2 + axis][side] - side
        edge[2 + axis] = slice(at, at + 1)
        other[tuple(edge)] += 5
        with torch.no_grad():
            differs = model(image)[slices(part)] != model(other)[slices(part)]
        changed |= bool(differs.any())
    assert changed


def test_every_layer_of_a_tile_inside_is_read_by_somebody():
    survey = cs.tile(UNet(), (1, 3, 8, 8)).survey((200, 200))
    needs = ranges(survey, {survey.output: tile_spans(survey, ((96, 104), (96, 104)))})
    for (name, _), spans in needs.spans.items():
        for axis, (start, stop), length in zip(
            survey.axes[name], spans, survey.network[name].shape
        ):
            assert 0 <= start < stop <= length
            if axis is not None:
                assert stop - start < 60


def test_a_branch_that_is_not_needed_is_not_computed():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 9)

        def forward(self, x):
            return self.a(x), self.b(x).flatten(1)

    assert cs.tile(Two(), (1, 3, 8, 8)).plan((3, 64, 64)).verdict == "exact"
    result = cs.tile(Two(), (1, 3, 8, 8), tile=8).run(np.zeros((3, 64, 64), "float32"))
    assert result.array.shape == (4, 62, 62)


def test_a_border_between_the_taps_of_a_dilated_window_is_not_read():
    # Row 0 reads -1 and 1: the padding and the second row, not the first.
    dilated = torch.nn.Conv2d(3, 4, 2, padding=1, dilation=2)
    survey = cs.tile(dilated, (1, 3, 8, 9)).survey((8, 9))
    part = {survey.output: tile_spans(survey, ((0, 1), (8, 9)))}
    image = survey.image.name, 0
    assert ranges(survey, part).spans[image][2:] == ((1, 2), (7, 8))
    assert ranges(survey, part, to_border=True).spans[image][2:] == ((0, 2), (7, 9))
