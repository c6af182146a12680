"""Operations that a user teaches convsmith: real ones of `torch.library`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from convsmith.arithmetic import Window
from convsmith.errors import ArgumentError
from convsmith.measure import Cost, local_field
from convsmith.measure.counters import count_as, multiply_adds
from convsmith.measure.receptive import walked_field
from convsmith.network.backward import spatial_axes, strides
from convsmith.network.registry import forget, registered
from tests import probe

NUMBERS = count()


def library_op(call):
    """A custom operation of its own, which torch does not look into."""
    schema = f"convsmith_register::op{next(NUMBERS)}"
    op = torch.library.custom_op(schema, call, mutates_args=())
    op.register_fake(lambda x: call(x.new_empty(x.shape)))
    return op, schema


def plain(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def blurred(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 3, 2, 1)


def swapped(x: torch.Tensor) -> torch.Tensor:
    return x[:, :, 1:].transpose(2, 3).contiguous()


def doubled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2.0)


def averaged(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean((2, 3), keepdim=True)


class Net(nn.Module):
    def __init__(self, op, stride=1):
        super().__init__()
        self.op = lambda x: op(x)  # a library operation cannot be copied, a function can
        self.first, self.last = nn.Conv2d(2, 2, 3, stride, 1), nn.Conv2d(2, 2, 3)

    def forward(self, x):
        return self.last(self.op(self.first(x)))


def field(model, size=(17, 13)):
    return cs.inspect(model, (1, 2, *size)).receptive_field


def test_an_operation_that_is_not_registered_is_unknown():
    op, _ = library_op(plain)
    report = cs.inspect(Net(op), (1, 2, 17, 13))
    assert report.status == "lower bound" and report.receptive_field.status == "upper bound"


@pytest.mark.parametrize("family", ["activation", "relu", "identity", "elementwise"])
def test_an_operation_behaves_like_a_family(family):
    op, name = library_op(plain)
    cs.register(name, family)
    report = cs.inspect(Net(op), (1, 2, 17, 13))
    layer = report[name.partition("::")[2]]
    assert layer.kind == cs.trace(Net(op), (1, 2, 17, 13))[layer.name].kind
    assert report.status == "exact" and layer.flops == (0 if family == "identity" else 2 * 17 * 13)
    assert (report.receptive_field.size, report.receptive_field.status) == ((5, 5), "exact")


def test_the_operation_itself_names_itself():
    for pick in (lambda op, name: op, lambda op, name: _packet(name), lambda op, name: _packet(
        name
    ).default):  # fmt: skip
        op, name = library_op(plain)
        cs.register(pick(op, name), family="activation")
        assert cs.inspect(Net(op), (1, 2, 9, 9)).status == "exact"


def _packet(name):
    space, _, bare = name.partition("::")
    return getattr(getattr(torch.ops, space), bare)


def test_costs_are_what_the_user_says():
    op, name = library_op(blurred)
    cs.register(name, cost=lambda layer: (layer.numel, 9 * layer.numel), name="blur")
    network = cs.trace(Net(op), (1, 2, 16, 16))
    report = cs.inspect(network)
    assert (report["blur"].macs, report["blur"].flops) == (2 * 8 * 8, 9 * 2 * 8 * 8)
    assert report["blur"].operation == "blur" and report.status == "exact"
    assert sum(multiply_adds(network).values()) == report.macs
    (row,) = [row for row in count_as(network, "torch").rows if row.name == "blur"]
    assert (row.theirs, row.why) == (0, "no rule for blur")
    cs.register(name, cost=lambda layer: Cost(None, 7, "upper bound", "guessed"))
    assert cs.inspect(Net(op), (1, 2, 16, 16))[name.split("::")[1]].flops == 7


def test_a_cost_that_fails_is_unknown_with_its_reason():
    op, name = library_op(plain)
    cs.register(name, family="activation", cost=lambda layer: layer.operation.settings["taps"])
    layer = cs.inspect(Net(op), (1, 2, 9, 9))[name.partition("::")[2]]
    assert layer.status == "unknown" and "taps" in layer.reason
    cs.register(name, family="activation", cost=lambda layer: "many")
    layer = cs.inspect(Net(op), (1, 2, 9, 9))[name.partition("::")[2]]
    assert layer.status == "unknown" and "is (macs, flops), not 'many'" in layer.reason


def blur_reads(layer, positions):
    n, c, y, x = positions
    return {0: (n, c, y.scale(2).shift(-1).spread(3, 1), x.scale(2).shift(-1).spread(3, 1))}


def swap_reads(layer, positions):
    n, c, y, x = positions
    return {0: (n, c, x.shift(1), y)}


def double_reads(layer, positions):
    n, c, y, x = positions
    return {0: (n, c, {p // 2 for p in y}, {p // 2 for p in x})}


def whole_reads(layer, positions):
    return {0: (*positions[:2], None, None)}


OPERATIONS = {
    "window": (blurred, Window(3, 2, (1, 1))),
    "windows": (blurred, [Window(3, 2, (1, 1)), Window(3, 2, (1, 1))]),
    "blur": (blurred, blur_reads),
    "swap": (swapped, swap_reads),
    "double": (doubled, double_reads),
    "whole": (averaged, whole_reads),
}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("call", "reads"), OPERATIONS.values(), ids=OPERATIONS)
def test_what_is_read_is_what_the_gradient_shows(call, reads, stride):
    op, name = library_op(call)
    cs.register(name, reads=reads)
    torch.manual_seed(0)
    model = Net(call, stride).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape) + 0.5)
    image = torch.rand(1, 2, 17, 13, dtype=torch.float64) + 0.5
    network = cs.trace(Net(op, stride), (1, 2, 17, 13))
    (output,) = network.outputs
    height, width = network[output].shape[2:]
    for place in [(0, 0), (height // 2, width // 2), (height - 1, width - 1)]:
        truth = probe.seen(model, image, place)
        if call is averaged:
            assert cs.measure.true_field(network, output).status == "whole image"
            continue
        region = cs.measure.true_field(network, output, place).region
        ours = np.zeros((17, 13), dtype=bool)
        for box in region:
            ours[np.ix_(*map(list, box))] = True
        assert (ours == truth).all()
    ours, walked = local_field(network, output), walked_field(network, output)
    assert (ours.size, ours.stride, ours.status) == (walked.size, walked.stride, walked.status)


def test_axes_and_strides_follow_from_what_is_read():
    for call, reads, axes, steps in [
        (blurred, blur_reads, (None, None, 0, 1), {0: 2, 1: 2}),
        (swapped, swap_reads, (None, None, 1, 0), {0: 1, 1: 1}),
        (doubled, double_reads, (None, None, 0, 1), {0: 1 / 2, 1: 1 / 2}),
        (averaged, whole_reads, (None, None, None, None), {}),
    ]:
        op, name = library_op(call)
        cs.register(name, reads=reads)
        network = cs.trace(Net(op), (1, 2, 16, 12))
        layer = name.partition("::")[2]
        assert spatial_axes(network)[layer] == axes and strides(network)[layer] == steps


def test_a_window_is_known_in_one_pass():
    from tests.fields import left_out

    op, name = library_op(blurred)
    cs.register(name, reads=Window(3, 2, (1, 1)))
    assert not left_out(cs.trace(Net(op), (1, 2, 17, 13)))


def test_holes_pass_through_what_leaves_the_grid_as_it_is():
    def series(op):
        layers = [nn.Conv2d(2, 2, 3, padding=2, dilation=2) for _ in range(2)]

        class Dilated(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = layers

            def forward(self, x):
                return self.b(op(self.a(x)))

        network = cs.trace(Dilated(), (1, 2, 20, 20))
        return cs.measure.holes(network, network.outputs[0]).series

    op, name = library_op(plain)
    assert series(op) == ()
    cs.register(name, family="activation")
    ((names, found),) = series(op)
    assert names == ("a", "b") and found.rates == (2, 2)


def test_dilate_passes_it_where_the_grid_stays_as_it_is():
    op, name = library_op(plain)
    cs.register(name, family="activation")
    model = Net(op, 2).eval()
    dilated = cs.dilate(model, (1, 2, 17, 17), output_stride=1)
    image = torch.rand(1, 2, 17, 17)
    new, old = dilated.model(image), model(image)
    assert new.shape[-1] > old.shape[-1]
    torch.testing.assert_close(new[..., ::2, ::2], old)


def test_dilate_refuses_what_it_cannot_change():
    op, name = library_op(blurred)
    cs.register(name, reads=Window(3, 2, (1, 1)), cost=lambda layer: (0, 0))
    with pytest.raises(cs.ConvsmithError, match=name.partition("::")[2]):
        cs.dilate(Net(op, 2), (1, 2, 17, 17), output_stride=1)


def test_compile_leaves_it_to_torch_whatever_its_name():
    torch.library.define("convsmith_register::relu", "(Tensor x) -> Tensor")
    torch.library.impl("convsmith_register::relu", "CompositeExplicitAutograd")(lambda x: x * 2)
    torch.library.register_fake("convsmith_register::relu")(lambda x: torch.empty_like(x))
    cs.register("convsmith_register::relu", family="relu")
    model = Net(torch.ops.convsmith_register.relu).eval()
    image = torch.rand(1, 2, 17, 13)
    compiled = cs.compile(model, image)
    with torch.no_grad():
        torch.testing.assert_close(compiled(image), model(image), rtol=1e-4, atol=1e-4)


def test_networks_that_are_traced_keep_what_they_were_traced_with():
    op, name = library_op(plain)
    cs.register(name, family="activation")
    before = cs.trace(Net(op), (1, 2, 9, 9))
    cs.register(name, family="activation", cost=lambda layer: (0, 77))
    after, label = cs.trace(Net(op), (1, 2, 9, 9)), name.partition("::")[2]
    assert [cs.inspect(net)[label].flops for net in (before, after)] == [2 * 9 * 9, 77]


def test_one_of_pytorchs_own_that_we_have_not_got():
    cs.register("aten::special_bessel_j0", family="activation", cost=lambda layer: (0, 1))
    net = Net(torch.special.bessel_j0)
    try:
        assert cs.inspect(net, (1, 2, 9, 9)).status == "exact"
    finally:
        forget("aten::special_bessel_j0")
    assert cs.inspect(net, (1, 2, 9, 9)).status == "lower bound"


def test_registering_from_many_threads_loses_nothing():
    names = [f"convsmith_threads::op{number}" for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: cs.register(name, family="activation"), names))
    assert all(registered(name) for name in names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("blur", "activation"), "an operation is named like 'mylib::blur', not 'blur'"),
        ((3, "activation"), "an operation is named like 'mylib::blur', not 3"),
        (("my::op",), "nothing is said of 'my::op'"),
        (("my::op", "activatoin"), "no family 'activatoin'; did you mean 'activation'?"),
        (("my::op", "upsampel"), "no family 'upsampel'; did you mean 'upsample'?"),
        (
            ("my::op", "upsample"),
            "differ: name the one that yours behaves like (upsample_bicubic2d",
        ),
        (("my::op", "zzzz"), "there is no family 'zzzz', only activation"),
    ],
)
def test_what_cannot_be_registered_is_refused_in_one_line(arguments, message):
    with pytest.raises(ArgumentError) as caught:
        cs.register(*arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"cost": 3}, {"reads": 3}, {"reads": []}, {"reads": "all"}])
def test_rules_of_another_type_are_refused(options):
    with pytest.raises(ArgumentError, match="'my::op'"):
        cs.register("my::op", **options)


@pytest.mark.parametrize(
    ("reads", "message"),
    [
        (lambda layer, box: {0: box[1:]}, "operand 0 has 4 axes, not 3"),
        (lambda layer, box: {7: box}, "IndexError"),
        (lambda layer, box: 1 / 0, "ZeroDivisionError"),
        (lambda layer, box: None, "TypeError"),
    ],
)
def test_a_rule_that_fails_is_named_with_its_layer(reads, message):
    op, name = library_op(plain)
    cs.register(name, reads=reads)
    with pytest.raises(ArgumentError, match=message) as caught:
        field(Net(op))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_family_whose_arguments_are_missing_is_named():
    op, name = library_op(plain)
    cs.register(name, family="convolution")
    with pytest.raises(ArgumentError, match=r"cannot be read as 'convolution'.*arguments are x"):
        cs.trace(Net(op), (1, 2, 9, 9))
    cs.register(name, family="channel shuffle")
    with pytest.raises(ArgumentError, match=r"does not behave like 'channel shuffle'.*groups"):
        field(Net(op))


def test_a_convolution_of_ones_own_is_counted_as_one():
    def call(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
        return F.conv2d(x, weight, stride=stride)

    name = f"convsmith_register::op{next(NUMBERS)}"
    op = torch.library.custom_op(name, call, mutates_args=())
    op.register_fake(lambda x, weight, stride: call(x, weight, stride))
    cs.register(op, family="convolution")

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.rand(4, 2, 3, 3))

        def forward(self, x):
            return op(x, self.weight, 2)

    mine = cs.inspect(Own(), (1, 2, 17, 13))
    plain_one = cs.inspect(nn.Conv2d(2, 4, 3, 2, bias=False), (1, 2, 17, 13))
    assert (mine.params, mine.macs) == (plain_one.params, plain_one.macs)
    assert mine.receptive_field.size == (3, 3) and mine.receptive_field.stride == (2, 2)


def test_positions_of_every_form_are_taken():
    op, name = library_op(plain)
    for form in (lambda p: p, list, set, lambda p: range(p.start, p.stop)):
        cs.register(
            name, reads=lambda layer, box, form=form: [(0, [*box[:2], *map(form, box[2:])])]
        )
        assert field(Net(op)).size == (5, 5)
    cs.register(name, reads=lambda layer, box: {0: (0, None, *box[2:])})
    assert field(Net(op)).size == (5, 5)
