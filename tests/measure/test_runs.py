"""Models that no graph can hold are run once, and counted as they run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError, TraceError
from tests import networks
from tests.measure.test_operations import EXAMPLES, Call, loops

FULL = {
    "resnet18": (networks.resnet18, (1, 3, 64, 64)),
    "mobilenet_v2": (networks.mobilenet_v2, (1, 3, 64, 64)),
    "functional": (networks.Everything, (2, 3, 9, 11)),
    "multi-head": (lambda: nn.TransformerEncoderLayer(24, 4, 48, batch_first=True), (2, 10, 24)),
    "shared": (lambda: nn.Sequential(*[nn.Conv2d(4, 4, 3, padding=1)] * 2), (1, 4, 8, 8)),
    "normalised": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3)),
        (1, 4, 8, 8),
    ),
}


@pytest.mark.parametrize("name", FULL)
def test_a_run_counts_what_a_graph_does(name):
    build, shape = FULL[name]
    model = build()
    graph, run = cs.inspect(model, shape, run=False), cs.inspect(model, shape, run=True)
    assert (run.params, run.buffers, run.unused) == (graph.params, graph.buffers, graph.unused)
    assert (run.macs, run.padding_macs, run.inputs) == (
        graph.macs, graph.padding_macs, graph.inputs,
    )  # fmt: skip
    heavy = [[(x.name, x.macs, x.params) for x in r.layers if x.macs] for r in (graph, run)]
    if name == "multi-head":  # one call, where a graph has its parts
        assert "_native_multi_head_attention" in {x.operation for x in run.layers}
    elif name == "shared":  # called by one name, where a graph has two
        assert [each[1:] for each in heavy[0]] == [each[1:] for each in heavy[1]]
    else:
        assert heavy[0] == heavy[1]
    assert run.network is None and "run" in run.reasons[0]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_run_counts_every_operation_as_a_graph_does(name):
    call, tensors, expected = EXAMPLES[name]
    model = call if isinstance(call, nn.Module) else Call(call)
    report = cs.inspect(model, list(tensors), run=True)
    assert (report.macs, report.status) == (expected, "measured")


class Net(nn.Module):
    """A stem, and a function that does what it likes with it."""

    def __init__(self, then):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)
        self.then = then

    def forward(self, *inputs):
        return self.then(self, *inputs)


def branch(net, x):
    y = net.conv(x)
    return net.conv(y[:, :2]) if y.sum() < 1e9 else y


def loop(net, x):
    count = 0
    while count < 3 + int(0 * x.sum()):
        x = net.conv(x)[:, :2]
        count += 1
    return x


def mask(net, x):
    y = net.conv(x).permute(0, 2, 3, 1)
    return net.head(y[x[:, 0] > -1])


def boxes(net, x):
    places = (net.conv(x).mean(1) > -1e9).nonzero()
    return [net.head(torch.zeros(1, 4)) for _ in places.tolist()[:5]]


def numpy(net, x):
    return net.head(torch.from_numpy(net.conv(x).mean((2, 3)).detach().numpy()))


def mapped(net, x):
    return torch.vmap(net.conv)(x)


LSTM = nn.LSTM(2, 3)


def packed(net, x):
    rows = nn.utils.rnn.PackedSequence(x.flatten()[:14].reshape(7, 2), torch.tensor([3, 2, 2]))
    return LSTM(rows)[0].data


STEM, HEAD = loops(4, 4, 4, 2, 3, 3), loops(4, 3)
REFUSED = {
    "a branch": (branch, 2 * STEM),
    "a loop": (loop, 3 * STEM),
    "a mask": (mask, STEM + loops(4, 4) * HEAD),
    "a list of boxes": (boxes, STEM + 5 * HEAD),
    "a way through numpy": (numpy, STEM + HEAD),
    "a map over the batch": (mapped, STEM),
    "packed sequences": (packed, loops(7, 4, 3, 2 + 3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_traced_is_run_and_counted(name):
    then, macs = REFUSED[name]
    model = Net(then)
    with pytest.raises(TraceError):
        cs.inspect(model, (1, 2, 4, 4), run=False)
    report = cs.inspect(model, (1, 2, 4, 4))
    assert (report.macs, report.status) == (macs, "measured")
    assert report.params == sum(p.numel() for p in model.parameters())
    assert "cannot be traced" in report.reasons[0] and "one run" in report.reasons[0]
    assert "measured" in str(report) and "measured" in repr(report)
    assert report.to_dict()["total"]["status"] == "measured"
    assert report.by_module()[0].status == "measured"
    assert "measured" in report.to_html()


class Detector(nn.Module):
    """Takes a list of images of different sizes, as torchvision's detectors do."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, images):
        size = [max(image.shape[d] for image in images) for d in (1, 2)]
        batch = images[0].new_zeros(len(images), 3, *size)
        for image, place in zip(images, batch, strict=True):
            place[:, : image.shape[1], : image.shape[2]].copy_(image)
        scores = self.head(self.backbone(batch))
        kept = [each[each > 1e9] for each in scores]
        return [{"scores": each.sort(descending=True)[0]} for each in kept]


def test_a_detector_is_counted_and_its_backbone_pointed_at():
    images = [torch.rand(3, 16, 12), torch.rand(3, 10, 20)]
    report = cs.inspect(Detector(), [images])
    assert report.status == "measured" and report.inputs == ((3, 16, 12), (3, 10, 20))
    assert report.macs == loops(2, 8, 10, 8, 3, 9) + loops(2, 8, 10, 2, 8)
    assert "model.backbone" in report.reasons[0]
    backbone = cs.inspect(Detector().backbone, (2, 3, 16, 20))
    assert (report["backbone.0"].macs, backbone.status) == (backbone.macs, "exact")


def test_an_operation_without_a_rule_leaves_a_lower_bound():
    call = Call(lambda x: torch.special.bessel_j0(x).sort()[0])
    report = cs.inspect(call, (2, 3), run=True)
    assert report.status == "lower bound" and "special_bessel_j0" in report.reasons[1]


class Keeps(nn.Module):
    """Writes to all that it can reach, and takes a branch that cannot be traced."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout()
        self.register_buffer("calls", torch.zeros(()))
        self.cache = []

    def forward(self, x):
        self.calls += 1
        self.cache.append(x)
        self.grid = torch.rand(4)
        x.add_(1)
        return self.drop(self.norm(x)) if x.sum() > -1e9 else x


def test_the_model_and_the_example_are_left_as_they_were():
    model, x = Keeps().train(), torch.zeros(3, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    assert cs.inspect(model, x, run=True).status == "measured"
    assert torch.equal(torch.get_rng_state(), state) and not x.any()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.cache == [] and not hasattr(model, "grid")
    assert all(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(not value.is_inference() for value in model.state_dict().values())


def test_what_can_neither_be_traced_nor_run_says_what_tracing_refused():
    with pytest.raises(TraceError, match="cannot be traced"):
        cs.inspect(nn.Linear(4, 2), (1, 5))
    with pytest.raises(TraceError, match=r"cannot be run: .* in layer 'conv'"):
        cs.inspect(Net(branch), (1, 5, 4, 4), run=True)


def test_a_network_that_is_traced_is_not_run():
    network = cs.trace(nn.Linear(4, 2), (1, 4))
    with pytest.raises(ArgumentError, match=r"run=True takes a torch.nn.Module or a program"):
        cs.inspect(network, run=True)


def test_a_program_can_be_run():
    program = torch.export.export(nn.Linear(4, 2), (torch.zeros(3, 4),))
    report = cs.inspect(program, (3, 4), run=True)
    assert (report.macs, report.params, report.status) == (24, 10, "measured")


@pytest.mark.parametrize(
    "compile_", [torch.jit.script, lambda m: torch.jit.trace(m, torch.zeros(2, 6))]
)
def test_torchscript_is_run(compile_):
    plain = nn.Sequential(nn.Linear(6, 4), nn.Dropout(), nn.Linear(4, 3)).train()
    report = cs.inspect(compile_(plain), (2, 6))
    assert (report.macs, report.params, report.status) == (2 * (24 + 12), 28 + 15, "measured")
    assert "TorchScript" in report.reasons[0]


def test_on_the_meta_device_nothing_is_computed():
    with torch.device("meta"):
        model = nn.Conv2d(2, 4, 3)
    report = cs.inspect(model, (1, 2, 5, 5), run=True)
    assert (report.macs, report.status) == (loops(9, 4, 2, 9), "measured")


def test_what_needs_a_graph_says_that_there_is_none():
    report = cs.inspect(Net(branch), (1, 2, 4, 4))
    assert report.receptive_field is None and report.memory is None and report.fields() == {}
    needs = [report.field_table, report.holes, report.latency, report.sizes]
    for call in [*needs, lambda: report.count_as("torch")]:
        with pytest.raises(ArgumentError, match=r"was counted in one run: it has no graph to read"):
            call()


def test_several_threads_run_the_same_model():
    model = Net(loop)
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: cs.inspect(model, (1, 2, 4, 4), run=True), range(12)))
    assert {(r.macs, r.status) for r in reports} == {(3 * STEM, "measured")}


def test_a_model_that_can_be_traced_is_never_run():
    model = Call(F.relu)
    with mock.patch("convsmith.measure.inspect.record", side_effect=AssertionError):
        assert cs.inspect(model, (2, 3)).status == "exact"
