"""Totals of published networks to the unit; and every rule against a count of another kind."""

from __future__ import annotations

from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import convsmith as cs
from convsmith.arithmetic import Positions
from convsmith.measure.cost import cost
from convsmith.network.dependence import depends_on
from convsmith.network.families import FAMILIES
from tests import networks

TOTALS = {
    "resnet18": (networks.resnet18, 11_689_512, 1_814_073_344),
    "resnet50": (networks.resnet50, 25_557_032, 4_089_184_256),
    "vgg16": (networks.vgg16, 138_357_544, 15_470_264_320),
    "mobilenet_v1": (networks.mobilenet_v1, 4_231_976, 568_740_352),
    "mobilenet_v2": (networks.mobilenet_v2, 3_504_872, 300_774_272),
}


@pytest.mark.parametrize("name", TOTALS)
def test_published_networks_to_the_unit(name):
    build, params, macs = TOTALS[name]
    with torch.device("meta"):
        report = cs.inspect(build(), (1, 3, 224, 224))
    assert (report.params, report.macs, report.status) == (params, macs, "exact")
    assert sum(layer.params for layer in report.layers) == params


def test_half_a_mobilenet_v1():
    with torch.device("meta"):
        assert cs.inspect(networks.mobilenet_v1(0.5), (1, 3, 224, 224)).macs == 149_497_088


def test_the_batch_multiplies_everything_but_parameters():
    model = networks.resnet((1, 1), 1, width=8)
    one, five = (cs.inspect(model, (n, 3, 33, 31)) for n in (1, 5))
    assert (five.macs, five.flops, five.params) == (5 * one.macs, 5 * one.flops, one.params)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(24, 72), nn.Linear(24, 24)

    def forward(self, x):
        q, k, v = self.qkv(x).reshape(x.shape[0], -1, 3, 4, 6).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.out(x.transpose(1, 2).flatten(2))


class Products(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(7, 5))

    def forward(self, x):
        y = torch.bmm(x, x.transpose(1, 2)) @ x
        y = torch.einsum("bij,bkj->bik", y, x)
        return torch.addmm(torch.zeros(5), y.reshape(-1, 7), self.weight)


COUNTED = {
    "functional": (networks.Everything, (2, 3, 9, 11)),
    "attention": (Attention, (2, 10, 24)),
    "multi-head": (lambda: nn.TransformerEncoderLayer(24, 4, 48, batch_first=True), (2, 10, 24)),
    "products": (Products, (3, 7, 6)),
    "linear": (lambda: nn.Linear(7, 5), (2, 3, 7)),
    "grouped transposed": (lambda: nn.ConvTranspose2d(6, 9, 4, 3, 1, 1, groups=3), (2, 6, 5, 7)),
    "volume": (lambda: nn.Conv3d(2, 4, (1, 3, 2), (1, 2, 1), 1), (2, 2, 5, 6, 7)),
    "sequence": (lambda: nn.Conv1d(4, 8, 3, dilation=4, groups=2), (2, 4, 31)),
    "without a batch": (lambda: nn.Conv2d(3, 8, 3), (3, 9, 11)),
}


@pytest.mark.parametrize("name", COUNTED)
def test_twice_the_macs_are_what_torch_counts(name):
    """`FlopCounterMode` counts on the dispatcher, two a multiply-add, no bias."""
    build, shape = COUNTED[name]
    model = build().eval()
    report = cs.inspect(model, shape)
    # Fused attention and the fast path of torch's own encoder layer are opaque to the counter.
    torch.backends.mha.set_fastpath_enabled(False)
    counter = FlopCounterMode(display=False)
    try:
        with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            model(torch.zeros(shape))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert 2 * report.macs == counter.get_total_flops()


def only(module, *shapes):
    """The cost of the one layer of a module that is not an input."""
    layers = [x for x in cs.trace(module, list(shapes)) if x.kind not in ("input", "select")]
    (layer,) = [x for x in layers if not x.constant]
    return cost(layer)


def test_recurrent_layers_by_hand():
    found = only(nn.LSTM(5, 7, batch_first=True), (2, 11, 5))
    weights = 4 * 7 * 5 + 4 * 7 * 7
    assert found.macs == 2 * 11 * weights
    assert found.flops == 2 * 11 * (2 * weights + 2 * 4 * 7 + 18 * 7)
    both = only(nn.GRU(5, 7, num_layers=2, bidirectional=True), (11, 2, 5))
    assert both.macs == 2 * 11 * 2 * (3 * 7 * (5 + 7) + 3 * 7 * (14 + 7))


class Calls(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, *tensors):
        return self.call(*tensors)


BY_HAND = [
    (lambda x: F.relu(x), [(2, 3, 5)], 30),
    (lambda x, y: x + y, [(2, 3, 5), (5,)], 30),
    (lambda x: F.max_pool2d(x, 3, 2), [(2, 4, 9, 7)], 2 * 4 * 4 * 3 * 8),
    (lambda x: F.avg_pool2d(x, 3, 2), [(2, 4, 9, 7)], 2 * 4 * 4 * 3 * 9),
    (lambda x: F.adaptive_avg_pool2d(x, 1), [(2, 4, 9, 7)], 2 * 4 * 63),
    # Windows onto 2 of 7 columns are 0…3 and 3…6: they overlap.
    (lambda x: F.adaptive_max_pool1d(x, 2), [(2, 4, 7)], 2 * 4 * (8 - 2)),
    (lambda x: x.mean((2, 3)), [(2, 4, 9, 7)], 2 * 4 * 63 + 8),
    (lambda x: x.softmax(1), [(2, 5)], 50),
    (lambda x: F.interpolate(x, scale_factor=2), [(1, 2, 3, 4)], 0),
    (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), [(1, 2, 3, 4)], 96 * 7),
    (lambda x: x.reshape(2, -1).t(), [(2, 3, 5)], None),
]


@pytest.mark.parametrize(("call", "shapes", "flops"), BY_HAND, ids=range(len(BY_HAND)))
def test_other_operations_by_hand(call, shapes, flops):
    layers = [cost(x) for x in cs.trace(Calls(call), shapes) if x.kind != "input"]
    assert {(x.macs, x.status) for x in layers} == {(0, "exact")}
    assert sum(x.flops for x in layers) == (flops or 0)


def test_normalisations_by_hand():
    values = prod((2, 6, 5, 7))
    assert only(nn.BatchNorm2d(6).eval(), (2, 6, 5, 7)).flops == 2 * values
    assert only(nn.LayerNorm([5, 7]), (2, 6, 5, 7)).flops == 7 * values
    assert only(nn.GroupNorm(3, 6, affine=False), (2, 6, 5, 7)).flops == 5 * values


def test_what_has_no_rule_is_unknown_and_never_zero():
    report = cs.inspect(networks.Everything(), (2, 3, 9, 11))
    layer = report["special_bessel_j0"]
    assert (layer.macs, layer.flops, layer.status) == (None, None, "unknown")
    assert "special_bessel_j0" in layer.reason
    assert report.status == "lower bound"
    assert report.reasons == ("no rule counts 'special_bessel_j0' (special_bessel_j0)",)
    assert "lower bound" in str(report)


def test_a_bound_is_called_a_bound():
    three = Calls(lambda x, y, z: torch.einsum("ij,jk,kl->il", x, y, z))
    report = cs.inspect(three, [(2, 3), (3, 4), (4, 5)])
    assert report.status == "upper bound" and report.macs >= 2 * 3 * 4 + 2 * 4 * 5


@pytest.mark.parametrize(("dims", "mode", "taps"), [
    (2, "nearest", 1), (2, "bilinear", 4), (2, "bicubic", 16), (3, "nearest", 1), (3, "bilinear", 8)
])  # fmt: skip
def test_grid_sample_is_a_weighted_sum_per_value(dims, mode, taps):
    sample = Calls(lambda x, grid: F.grid_sample(x, grid, mode))
    shapes = [(2, 3, *[5] * dims), (2, *[4] * dims, dims)]
    report = cs.inspect(sample, shapes)
    each = 2 * taps - 1 if taps > 1 else 0
    assert (report.macs, report.flops) == (0, 2 * 3 * 4**dims * each)
    assert report.status == "exact"


def test_grid_sample_reads_any_pixel_of_its_channel_and_one_place_of_the_grid():
    sample = Calls(lambda x, grid: F.grid_sample(x, grid))
    network = cs.trace(sample, [(2, 3, 5, 5), (2, 4, 4, 2)])
    found = depends_on(network, network.outputs[0], [[Positions.of([p]) for p in (1, 2, 3, 0)]])
    image, grid = (found.inputs[name].boxes for name in network.inputs)
    assert [[list(axis) for axis in box] for box in image] == [[[1], [2], [*range(5)], [*range(5)]]]
    assert [[list(axis) for axis in box] for box in grid] == [[[1], [3], [0], [0, 1]]]
    assert not found.guessed


def test_every_kind_has_a_rule_or_is_unknown_by_intent():
    assert [kind for kind, family in FAMILIES.items() if family.cost is None] == ["unknown"]
