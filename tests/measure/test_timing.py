"""Times of layers: who is timed, that it is the model that runs, and that it stays as it was."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_leaves

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.measure.latency import Latency
from convsmith.measure.timing import Timing, _arguments, _Clock, layer_latency
from convsmith.network import Network
from tests import networks


class Writer(nn.Module):
    """Writes into its input, a buffer, a weight and running statistics, and draws numbers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("var", torch.ones(3))
        self.register_buffer("scale", torch.full((3, 1, 1), 2.0), persistent=False)
        self.weight = nn.Parameter(torch.randn(3, 3, 1, 1))

    def forward(self, x, mask=None):
        self.calls.add_(1)
        with torch.no_grad():
            self.weight.clamp_(-0.1, 0.1)
        x.mul_(2)
        y = F.batch_norm(x, self.mean, self.var, training=True)
        y = F.dropout(F.conv2d(y, self.weight) * self.scale, training=True)
        return y + torch.tensor([1.0])


class Tokens(nn.Module):
    """Integers and a flag in, as keywords; two results, one of them the input itself."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 5)

    def forward(self, tokens, *, scale=2, keep=None):
        return {"x": self.table(tokens) * scale, "tokens": tokens}


def snapshot(model):
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def check(timing, network):
    assert list(timing.layers) == [x.name for x in network if x.kind != "input"]
    for figure in (*timing.layers.values(), timing.whole):
        assert 0 < figure.low_ms <= figure.median_ms <= figure.high_ms
        assert figure.runs == timing.whole.runs
    assert timing.total_ms == sum(figure.median_ms for figure in timing.layers.values())


CASES = [
    (networks.Everything, (1, 3, 7, 7)),
    (lambda: networks.resnet((1, 1), 4, 10, 7), (2, 3, 17, 31)),
    (lambda: nn.Sequential(nn.Conv1d(3, 5, 3), nn.Flatten(), nn.Linear(15, 2)), (1, 3, 5)),
    (lambda: nn.TransformerEncoderLayer(6, 2, 13, batch_first=True), (1, 5, 6)),
    (Writer, (2, 3, 4, 5)),
    (Tokens, {"tokens": torch.randint(11, (2, 7)), "scale": 3, "keep": None}),
    (nn.Identity, (1, 2)),
]


@pytest.mark.parametrize(("make", "example"), CASES)
def test_every_layer_but_the_inputs_is_timed(make, example):
    network = cs.trace(make(), example)
    check(layer_latency(network, seconds=0, minimum=2), network)


@pytest.mark.parametrize(("make", "example"), [case for case in CASES if case[0] is not Writer])
def test_what_is_timed_computes_what_the_model_computes(make, example):
    model = make().eval()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():  # running statistics that matter
            nn.init.uniform_(tensor.data, 0.5, 1.5)
    network = cs.trace(model, example)
    clock = _Clock(network.program.graph_module, set())
    arguments = _arguments(network)
    with torch.no_grad():
        results = tree_leaves(clock.run(*arguments))
    # With gradients, for without them a transformer layer takes a fused path that no trace has.
    if isinstance(example, dict):
        expected = tree_leaves(model(**dict(zip(example, arguments[-len(example) :]))))
    else:
        expected = tree_leaves(model(arguments[-1]))
    assert len(results) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(results, expected))
    assert {x.node for x in network if x.kind != "input"} <= set(clock.times)


@pytest.mark.parametrize(("make", "example"), CASES)
@pytest.mark.parametrize("training", [False, True])
def test_model_and_random_state_stay_as_they_were(make, example, training):
    model = make().train(training)
    flags = [module.training for module in model.modules()]
    network = cs.trace(model, example)
    before, keys = snapshot(model), list(model.state_dict())
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    layer_latency(network, seconds=0, minimum=3, threads=threads + 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert list(model.state_dict()) == keys
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in snapshot(model).items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_no_pass_sees_what_another_wrote():
    seen = []

    @torch.library.custom_op("convsmith_tests::look", mutates_args=())
    def look(x: torch.Tensor, calls: torch.Tensor) -> torch.Tensor:
        seen.append((x.clone(), calls.clone()))
        return x.clone()

    look.register_fake(lambda x, calls: torch.empty_like(x))

    class Looks(Writer):
        def forward(self, x):
            self.calls.add_(1)
            return look(x.mul_(2), self.calls)

    network = cs.trace(Looks(), (1, 3, 2, 2))
    seen.clear()
    layer_latency(network, seconds=0, minimum=4)
    assert len(seen) == 1 + 2 * 4  # one warm-up, then layers and whole in turn
    assert all(torch.equal(x, seen[0][0]) and calls == 1 for x, calls in seen)


def test_an_in_place_operation_that_changes_no_value_is_still_kept_from_the_weights():
    model = Writer()
    model.weight.data.fill_(0.05)
    network = cs.trace(model, (1, 3, 4, 4))
    version = model.weight._version
    layer_latency(network, seconds=0, minimum=2)
    assert model.weight._version == version


def test_inputs_have_the_traced_shape_type_and_strides():
    x = torch.zeros(2, 3, 5, 7, dtype=torch.float64).to(memory_format=torch.channels_last)
    expanded = torch.zeros(3, 1, 1, dtype=torch.complex64).expand(3, 5, 7)
    flags = torch.ones(2, 1, 5, 7, dtype=torch.bool)

    class Three(nn.Module):
        def forward(self, x, y, z):
            return torch.where(z, x, 0) * y

    made = _arguments(cs.trace(Three(), (x, expanded, flags)))
    assert [value.dtype for value in made] == [x.dtype, expanded.dtype, flags.dtype]
    assert [value.shape for value in made] == [x.shape, expanded.shape, flags.shape]
    assert made[0].stride() == x.stride()
    assert made[0].std() > 0.5 and made[1].abs().min() > 0 and not made[2].any()


def test_weights_are_those_of_now():
    model = nn.Linear(3, 2)
    network = cs.trace(model, (1, 3))
    with torch.no_grad():
        model.weight.fill_(7)
    assert any(torch.equal(value, model.weight) for value in _arguments(network))


def test_threads_are_set_back_after_an_error():
    class Fails(torch.nn.Module):
        def forward(self, x, index):
            return x[:, index + 5]

    network = cs.trace(Fails(), (torch.zeros(1, 3), torch.tensor([-4])))
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with pytest.raises(IndexError):
        layer_latency(network, seconds=0, threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_threads_are_those_asked_for():
    network = cs.trace(nn.ReLU(), (1, 3))
    assert layer_latency(network, seconds=0, threads=1).threads == 1
    assert layer_latency(network, seconds=0).threads == torch.get_num_threads()


@pytest.mark.parametrize("model", [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(3, affine=False)])
def test_meta_is_refused(model):
    network = cs.trace(model.to("meta"), torch.zeros(1, 3, 9, 9, device="meta"))
    with pytest.raises(ArgumentError, match=r"times need weights: .* on the meta device"):
        layer_latency(network)


def test_meta_input_is_refused_where_there_are_no_weights():
    with pytest.raises(ArgumentError, match="times need weights: 'input' of ReLU is on the meta"):
        layer_latency(cs.trace(nn.ReLU(), torch.zeros(1, 3, device="meta")))


def test_bad_arguments():
    network = cs.trace(nn.ReLU(), (1, 3))
    with pytest.raises(ArgumentError, match="at least 2 passes, not 1"):
        layer_latency(network, minimum=1)
    with pytest.raises(ArgumentError, match="at least 1 thread, not 0"):
        layer_latency(network, threads=0)
    with pytest.raises(ArgumentError, match="Hand has no exported program"):
        layer_latency(Network("Hand", network.layers, network.outputs))


def test_shown_as():
    figures = {"a": Latency(1.0, 0.5, 2.0, 5), "b:<add>": Latency(3.0, 2.5, 4.0, 5)}
    timing = Timing(figures, Latency(5.0, 4.5, 6.0, 5), 2)
    assert repr(timing) == "Timing(2 layers, 4.000 ms in sum, 5.000 ms the whole pass, threads: 2)"
    plain = json.loads(json.dumps(timing.to_dict()))
    assert plain["layers"]["a"] == {"median_ms": 1.0, "low_ms": 0.5, "high_ms": 2.0, "runs": 5}
    assert plain["total_ms"] == 4 and plain["whole"]["median_ms"] == 5 and plain["threads"] == 2
    assert [row[-1] for row in timing.table().rows] == [0.25, 0.75]
    assert "b:&lt;add&gt;" in timing._repr_html_()
    frame = pytest.importorskip("pandas") and timing.to_pandas()
    assert list(frame["layer"]) == ["a", "b:<add>"] and list(frame["median_ms"]) == [1, 3]
