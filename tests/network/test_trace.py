"""What `trace` finds, what it keeps, and that it leaves the model alone."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.errors import ArgumentError, TraceError
from convsmith.network.families import FAMILIES, FAMILY_OF
from convsmith.printing import prints_kept_back
from tests.networks import Everything, resnet18
from tests.specifications import convolutions, pools, transposed

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
UP = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
DIMS = pytest.mark.parametrize("dims", [1, 2, 3])


@pytest.fixture(scope="module")
def everything():
    return cs.trace(Everything(), (2, 3, 9, 11))


def test_layers_have_the_names_their_author_would_look_for(everything):
    names = [layer.name for layer in everything]
    assert names[:6] == ["x", "stem", "norm", "relu", "twice", "twice#2"]
    assert len(set(names)) == len(names)
    assert everything["mirror"].operation.arithmetic == Conv(8, 8, 3)
    assert everything["mirror:pad"].kind == "pad"
    assert everything["conv2d"].operation.arithmetic == Conv(
        8, 8, 3, padding=1, groups=8, bias=False
    )
    assert everything["up"].operation.arithmetic == ConvTranspose(8, 4, 4, 2, 1)
    assert everything.outputs == ("up", "mean")
    assert everything["stem"].source.startswith("networks.py:")


def test_shared_weights_are_known_as_shared(everything):
    assert everything.shared["twice.weight"] == ("twice", "twice#2", "tied")
    assert everything.parameters["twice.weight"].aliases == ("tied.weight",)
    assert "tied.weight" not in everything.parameters
    assert everything.params == sum(p.numel() for p in Everything().parameters())
    assert [p.name for p in everything.unused] == ["aside.weight", "aside.bias"]


def test_reparametrised_weights_belong_to_the_layer_that_uses_them(everything):
    names = {p.name for p in everything["weighted"].parameters}
    assert names == {
        "weighted.bias",
        "weighted.parametrizations.weight.original0",
        "weighted.parametrizations.weight.original1",
    }
    (constant,) = [layer for layer in everything if layer.constant]
    assert constant.parameters == () and constant.operation.name == "_weight_norm"
    assert everything["weighted"].inputs == ("add",)


def test_an_unknown_operation_is_kept_and_named(everything):
    layer = everything["special_bessel_j0"]
    assert layer.kind == "unknown" and layer.inputs == ("mul",) and layer.shape == (2, 8, 9, 11)


def test_walks_in_both_directions(everything):
    up = [layer.name for layer in everything.upstream("twice#2")]
    assert up == ["twice", "relu", "norm", "stem", "x"]
    down = [layer.name for layer in everything.downstream("special_bessel_j0")]
    assert down == ["up"]
    assert [layer.name for layer in everything.producers("cat")] == ["mirror", "conv2d"]
    assert {layer.name for layer in everything.consumers("relu")} == {"twice", "tied"}
    for layer in everything:
        for source in layer.inputs:
            assert layer in everything.consumers(source)
            assert layer in list(everything.downstream(source))


def test_the_vocabulary_has_one_family_a_name():
    assert set(FAMILY_OF.values()) <= set(FAMILIES)
    bases = {name.split("::")[1].split(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    strangers = {n for n in FAMILY_OF if n.split(".")[0] not in bases and n != "getitem"}
    assert not strangers, "names that torch does not have"


@DIMS
@given(data=st.data())
def test_any_convolution_reads_back_as_it_was_written(dims, data):
    spec, size = data.draw(convolutions(dims))
    for low, high in spec.padding:
        if low != high:
            return  # a torch module pads both sides alike
    module = CONV[dims](
        spec.in_channels, spec.out_channels, spec.kernel_size, spec.stride,
        [low for low, _ in spec.padding], spec.dilation, spec.groups, spec.bias,
    )  # fmt: skip
    layer = cs.trace(module, (2, spec.in_channels, *size)).layers[-1]
    assert layer.operation.arithmetic == spec
    assert layer.shape == spec.output_shape((2, spec.in_channels, *size))


@DIMS
def test_same_padding_reads_back(dims):
    module = CONV[dims](2, 4, (4, 3, 2)[:dims], padding="same", dilation=2, bias=False)
    layer = cs.trace(module, (1, 2, *(9, 8, 7)[:dims])).layers[-1]
    expected = Conv(2, 4, (4, 3, 2)[:dims], padding="same", dilation=2, bias=False, dims=dims)
    assert layer.operation.arithmetic == expected


@DIMS
@given(data=st.data())
def test_any_transposed_convolution_reads_back_as_it_was_written(dims, data):
    spec, size = data.draw(transposed(dims))
    module = UP[dims](
        spec.in_channels, spec.out_channels, spec.kernel_size, spec.stride,
        [low for low, _ in spec.padding], spec.output_padding, spec.groups, spec.bias,
        spec.dilation,
    )  # fmt: skip
    layer = cs.trace(module, (2, spec.in_channels, *size)).layers[-1]
    assert layer.operation.arithmetic == spec
    assert layer.shape == spec.output_shape((2, spec.in_channels, *size))


POOLS = {
    ("max", 1): nn.MaxPool1d, ("max", 2): nn.MaxPool2d, ("max", 3): nn.MaxPool3d,
    ("average", 1): nn.AvgPool1d, ("average", 2): nn.AvgPool2d, ("average", 3): nn.AvgPool3d,
}  # fmt: skip


@DIMS
@given(data=st.data())
def test_any_pool_reads_back_as_it_was_written(dims, data):
    spec, size, channels = data.draw(pools(dims))
    padding = [low for low, _ in spec.padding]
    last = {"dilation": spec.dilation} if spec.kind == "max" else {}
    if spec.kind == "average":
        last = {"count_include_pad": spec.count_include_pad}
    module = POOLS[spec.kind, dims](
        spec.kernel_size, spec.stride, padding, ceil_mode=spec.ceil_mode, **last
    )
    layer = cs.trace(module, (1, channels, *size)).layers[-1]
    found = layer.operation.arithmetic
    assert isinstance(found, Pool) and found.windows == spec.windows
    assert (found.kind, found.ceil_mode) == (spec.kind, spec.ceil_mode)
    if spec.kind == "average":
        assert found.count_include_pad == spec.count_include_pad
    assert layer.shape == found.output_shape((1, channels, *size))


def test_the_model_is_left_as_it_was():
    model = Everything().train()
    model.norm.eval()
    model.register_forward_hook(lambda *_: None)
    model.stem.weight.requires_grad_(False)
    model = model.to(memory_format=torch.channels_last)
    state = copy.deepcopy(model.state_dict())
    flags = [module.training for module in model.modules()]
    pointers = [p.data_ptr() for p in model.parameters()]
    attributes = {name: dict(vars(module)) for name, module in model.named_modules()}
    random = torch.random.get_rng_state()

    cs.trace(model, (1, 3, 9, 9))

    assert flags == [module.training for module in model.modules()]
    assert list(state) == list(model.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True)
    )
    assert pointers == [p.data_ptr() for p in model.parameters()]
    assert not model.stem.weight.requires_grad
    assert all(
        a.stride() == b.stride()
        for a, b in zip(state.values(), model.state_dict().values(), strict=True)
    )
    for name, module in model.named_modules():
        assert vars(module).keys() == attributes[name].keys()
        assert len(module._forward_hooks) == len(attributes[name]["_forward_hooks"])
    assert torch.equal(random, torch.random.get_rng_state())
    assert torch.is_grad_enabled()


def test_flags_come_back_when_tracing_fails():
    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError("never")

    model = Fails().train()
    with pytest.raises(TraceError, match="never"):
        cs.trace(model, (1,))
    assert model.training


def test_a_model_on_the_meta_device_costs_no_memory():
    with torch.device("meta"):
        net = cs.trace(resnet18(), (1, 3, 224, 224))
    assert net.params == 11_689_512 and net[net.outputs[0]].shape == (1, 1000)


def test_examples_of_every_kind():
    class Two(nn.Module):
        def forward(self, x, y=None):
            return x + y

    net = cs.trace(Two(), [(2, 3), torch.ones(3)])
    assert net.inputs == ("x", "y") and net["add"].shape == (2, 3)
    assert cs.trace(Two(), {"x": (2, 3), "y": (1,)})["add"].shape == (2, 3)
    assert cs.trace(nn.Conv2d(3, 8, 3), (3, 9, 9)).layers[-1].shape == (8, 7, 7)
    program = torch.export.export(nn.ReLU(), (torch.ones(2),))
    assert cs.trace(program, None)["relu"].shape == (2,)
    half = nn.Conv2d(3, 8, 3).half()
    assert cs.trace(half, (1, 3, 9, 9)).layers[-1].results[0].dtype == "float16"


@pytest.mark.parametrize("example", ["1,3", 7, (), None, (1, -3, 9, 9)])
def test_an_example_that_is_none_is_refused(example):
    with pytest.raises(ArgumentError):
        cs.trace(nn.ReLU(), example)


def test_a_class_is_no_model():
    with pytest.raises(ArgumentError, match=r"expected a torch.nn.Module, not"):
        cs.trace(nn.ReLU, (1,))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        x = self.inner(x)
        return x if x.sum() > 0 else -x


def test_control_flow_on_values_is_refused_with_the_line(capfd):
    with pytest.raises(TraceError) as caught:
        cs.trace(Branching(), (1, 3, 9, 9))
    message = str(caught.value)
    assert "control flow depends on the values" in message
    assert "test_trace.py:" in message and "x.sum() > 0" in message and "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_what_vmap_hides_is_refused_with_the_line():
    class Mapped(nn.Module):
        def forward(self, x):
            return torch.vmap(torch.relu)(x)

    with pytest.raises(TraceError, match=r"torch.vmap .* \(test_trace.py:\d+\)"):
        cs.trace(Mapped(), (2, 3))


def test_a_wrong_number_of_channels_is_refused_with_the_layer():
    with pytest.raises(TraceError, match=r"3 channels, but got 4 .*in layer 'inner'"):
        cs.trace(Branching(), (1, 4, 9, 9))


def test_a_missing_layer_is_answered_with_the_nearest(everything):
    with pytest.raises(
        ArgumentError, match=r"no layer 'twise' in Everything; did you mean 'twice'"
    ):
        everything["twise"]


def test_what_the_model_prints_is_the_callers(capfd):
    class Talks(nn.Module):
        def forward(self, x):
            print("hello")
            return x + 1

    before = sys.stdout
    cs.trace(Talks(), (1,))
    assert sys.stdout is before and capfd.readouterr() == ("hello\n", "")
    with prints_kept_back():  # as the command line does, for its reports
        cs.trace(Talks(), (1,))
    assert capfd.readouterr() == ("", "")


def test_the_larger_of_two_tensors_is_no_reduction():
    class Larger(nn.Module):
        def forward(self, x):
            return torch.max(x, 2 * x), torch.min(x, 3 * x), x.max(), x.max(2)

    kinds = {layer.node: layer.kind for layer in cs.trace(Larger(), (1, 2, 5, 5))}
    assert [kinds["max_1"], kinds["min_1"]] == ["elementwise"] * 2
    assert [kinds["max_2"], kinds["max_3"]] == ["reduction"] * 2
