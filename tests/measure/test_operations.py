"""Every operation that makes multiply-adds against loops, and against torch where it counts."""

from __future__ import annotations

from math import log2

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import convsmith as cs
from convsmith.measure.cost import cost
from convsmith.measure.counters import count_as
from convsmith.network.families import FAMILIES, FAMILY_OF
from tests.loops import Call, loops

aten = torch.ops.aten


def rand(*shapes):
    return [torch.rand(shape) for shape in shapes]


def conv(dims, transposed=False):
    name = f"conv{'_transpose' * transposed}{dims}d"
    size, kernel = (7, 6, 5)[:dims], (3, 2, 1)[:dims]
    out = size if transposed else [n - k + 1 for n, k in zip(size, kernel, strict=True)]
    return (
        lambda x, w: getattr(F, name)(x, w),
        rand((2, 4, *size), (4, 3, *kernel) if transposed else (3, 4, *kernel)),
        loops(2, 4, 3, *out, *kernel),
    )


def cell(name, gates):
    states = 2 if name == "lstm_cell" else 1

    def call(x, *rest):
        hidden = list(rest[:states])
        return getattr(torch, name)(x, hidden if states == 2 else hidden[0], *rest[states:])

    weights = [(gates * 8, 6), (gates * 8, 8), (gates * 8,), (gates * 8,)]
    tensors = rand((3, 6), *[(3, 8)] * states, *weights)
    return call, tensors, loops(3, gates * 8, 6) + loops(3, gates * 8, 8)


def run(kind, gates, **options):
    layer = getattr(nn, kind)(6, 8, batch_first=True, **options)
    return layer, rand((2, 5, 6)), loops(2, 5, gates * 8, 6) + loops(2, 5, gates * 8, 8)


def chain(call):
    # (10×2 · 2×9) · 9×3 costs 450, 10×2 · (2×9 · 9×3) costs 114.
    return call, rand((10, 2), (2, 9), (9, 3)), loops(2, 9, 3) + loops(10, 2, 3)


matrices = rand((3, 4), (4, 5))
batches = rand((2, 3, 4), (2, 4, 5))
EXAMPLES = {
    "_native_multi_head_attention": (
        lambda x, *weights: aten._native_multi_head_attention(x, x, x, 8, 2, *weights, None, False)[
            0
        ],
        rand((2, 5, 8), (24, 8), (24,), (8, 8), (8,)),
        loops(2, 5, 24, 8) + 2 * loops(2, 5, 5, 8) + loops(2, 5, 8, 8),
    ),
    "addbmm": (torch.addbmm, rand((3, 5)) + batches, loops(2, 3, 4, 5)),
    "addmm": (torch.addmm, rand((3, 5)) + matrices, loops(3, 4, 5)),
    "addmv": (torch.addmv, rand((3,), (3, 4), (4,)), loops(3, 4)),
    "addr": (torch.addr, rand((3, 4), (3,), (4,)), 0),
    "affine_grid_generator": (
        lambda t: F.affine_grid(t, (2, 1, 4, 5), align_corners=False),
        rand((2, 2, 3)),
        loops(2, 4, 5, 2, 3),
    ),
    "baddbmm": (torch.baddbmm, rand((2, 3, 5)) + batches, loops(2, 3, 4, 5)),
    # x·W first, then its product with y.
    "bilinear": (F.bilinear, rand((2, 3), (2, 4), (5, 3, 4)), loops(2, 5, 3, 4) + loops(2, 5, 4)),
    "bmm": (torch.bmm, batches, loops(2, 3, 4, 5)),
    "chain_matmul": chain(torch.chain_matmul),
    "conv1d": conv(1),
    "conv2d": conv(2),
    "conv3d": conv(3),
    "conv_tbc": (
        lambda x, w, b: torch.conv_tbc(x, w, b, 1),
        rand((9, 2, 3), (3, 3, 4), (4,)),
        loops(9, 2, 3, 3, 4),
    ),
    "conv_transpose1d": conv(1, True),
    "conv_transpose2d": conv(2, True),
    "conv_transpose3d": conv(3, True),
    "convolution": (
        lambda x, w: aten.convolution(x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
        *conv(2)[1:],
    ),
    "dot": (torch.dot, rand((5,), (5,)), 5),
    "einsum": (
        lambda x, y: torch.einsum("bij,bjk->bik", x, y),
        rand((4, 5, 8), (1, 8, 6)),
        loops(4, 5, 8, 6),
    ),
    "ger": (torch.ger, rand((3,), (4,)), 0),
    "gru": run("GRU", 3),
    "gru_cell": cell("gru_cell", 3),
    "inner": (torch.inner, rand((2, 3), (4, 3)), loops(2, 4, 3)),
    "linalg_matmul": (torch.linalg.matmul, matrices, loops(3, 4, 5)),
    "linalg_multi_dot": chain(lambda *x: torch.linalg.multi_dot(x)),
    "linear": (F.linear, rand((2, 3, 4), (5, 4)), loops(2, 3, 4, 5)),
    "lstm": run("LSTM", 4),
    "lstm_cell": cell("lstm_cell", 4),
    "matmul": (torch.matmul, rand((2, 1, 3, 4), (6, 4, 5)), loops(2, 6, 3, 4, 5)),
    "mm": (torch.mm, matrices, loops(3, 4, 5)),
    "mv": (torch.mv, rand((3, 4), (4,)), loops(3, 4)),
    "outer": (torch.outer, rand((3,), (4,)), 0),
    "rnn_relu": run("RNN", 1, nonlinearity="relu"),
    "rnn_relu_cell": cell("rnn_relu_cell", 1),
    "rnn_tanh": run("RNN", 1),
    "rnn_tanh_cell": cell("rnn_tanh_cell", 1),
    "scaled_dot_product_attention": (
        F.scaled_dot_product_attention,
        rand((2, 2, 5, 4), (2, 2, 7, 4), (2, 2, 7, 3)),
        loops(2, 2, 5, 7, 4) + loops(2, 2, 5, 7, 3),
    ),
    "tensordot": (
        lambda x, y: torch.tensordot(x, y, ([2, 0], [1, 2])),
        rand((2, 3, 4), (5, 4, 2)),
        loops(3, 5, 4, 2),
    ),
    "vdot": (torch.vdot, rand((5,), (5,)), 5),
}


def test_every_operation_with_multiply_adds_has_an_example():
    titled = {name for name, kind in FAMILY_OF.items() if FAMILIES[kind].title}
    titled -= {"channel_convolution"}  # stands for others in graphs of the runtime alone
    assert set(EXAMPLES) == titled, "give the new operation an example here"


@pytest.mark.parametrize("name", EXAMPLES)
def test_multiply_adds_are_those_of_a_loop(name):
    call, tensors, expected = EXAMPLES[name]
    report = cs.inspect(call if isinstance(call, nn.Module) else Call(call), list(tensors))
    assert name in {layer.operation.name for layer in report.network}
    assert (report.macs, report.status) == (expected, "exact")
    assert report.flops >= 2 * report.macs


@pytest.mark.parametrize("name", EXAMPLES)
def test_multiply_adds_are_half_of_what_torch_counts_where_it_does(name):
    call, tensors, expected = EXAMPLES[name]
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        call(*tensors)
    if counter.get_total_flops():
        assert counter.get_total_flops() == 2 * expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_torch_would_count_is_what_it_counts(name):
    call, tensors, _ = EXAMPLES[name]
    model = call if isinstance(call, nn.Module) else Call(call)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(*tensors)
    counted = count_as(cs.trace(model, list(tensors)), "torch")
    assert counted.says == counter.get_total_flops()
    assert all(row.why for row in counted.differing)


@pytest.mark.parametrize("options", [
    {}, {"num_layers": 2}, {"bidirectional": True}, {"bias": False},
    {"proj_size": 3, "num_layers": 2, "bidirectional": True},
])  # fmt: skip
@pytest.mark.parametrize("wrap", [
    nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm,
])  # fmt: skip
def test_a_reparametrised_layer_costs_what_the_plain_one_does(options, wrap):
    def counts(layer):
        report = cs.inspect(layer, (2, 5, 6))
        (found,) = [each for each in report.layers if each.kind == "recurrent"]
        return found.macs, found.flops, found.status

    make = lambda: nn.LSTM(6, 8, batch_first=True, **options)  # noqa: E731
    assert counts(wrap(make(), "weight_hh_l0")) == counts(make())


SORTS = {
    "argsort": lambda x: x.argsort(1),
    "kthvalue": lambda x: x.kthvalue(2, 1),
    "median": lambda x: x.median(1),
    "msort": lambda x: torch.msort(x.t()),
    "sort": lambda x: x.sort(1),
    "topk": lambda x: x.topk(3, 1),
}


@pytest.mark.parametrize("name", SORTS)
def test_sorting_is_a_bound_and_no_multiply_add(name):
    report = cs.inspect(Call(SORTS[name]), (3, 8))
    assert (report.macs, report.flops, report.status) == (0, 3 * 8 * log2(8), "upper bound")
    assert name in report.reasons[0]


def test_searching_is_a_bound():
    report = cs.inspect(Call(torch.searchsorted), [(7,), (5,)])
    assert (report.macs, report.flops, report.status) == (0, 5 * log2(8), "upper bound")


def number(x):
    return torch.view_as_complex(x)


COMPLEX = {
    "mul": (lambda x, y: number(x) * number(y), 0, 6 * 16),
    "add": (lambda x, y: number(x) + number(y), 0, 2 * 16),
    "abs": (lambda x, y: number(x).abs(), 0, 4 * 16),
    "matmul": (lambda x, y: number(x) @ number(y), 4 * 64, 8 * 64),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_arithmetic_is_counted_in_real_operations(name):
    call, macs, flops = COMPLEX[name]
    report = cs.inspect(Call(call), [(4, 4, 2), (4, 4, 2)])
    assert (report.macs, report.flops, report.status) == (macs, flops, "upper bound")


def test_complex_arithmetic_without_a_rule_is_unknown_and_never_zero():
    report = cs.inspect(Call(lambda x: number(x).exp()), (4, 4, 2))
    assert (report["exp"].flops, report["exp"].status) == (None, "unknown")


def test_taking_complex_numbers_apart_costs_nothing():
    apart = Call(lambda x: torch.view_as_real(number(x).conj().resolve_conj()))
    report = cs.inspect(apart, (4, 4, 2))
    assert (report.macs, report.flops, report.status) == (0, 0, "exact")


def butterflies(n):
    """Operations of a transform whose length is a power of two, halved until it is one value."""
    return 0 if n == 1 else 2 * butterflies(n // 2) + n // 2 * (6 + 4)


@pytest.mark.parametrize("size", [8, 64])
def test_a_fourier_transform_is_counted_by_its_butterflies(size):
    one = cs.inspect(Call(torch.fft.fft), (3, size))
    assert (one.macs, one.flops, one.status) == (0, 3 * butterflies(size), "upper bound")
    two = cs.inspect(Call(lambda x: torch.fft.irfft2(torch.fft.rfft2(x))), (2, size, 16))
    each = 2 * (size * butterflies(16) + 16 * butterflies(size))
    assert two["fft_rfft2"].flops == two["fft_irfft2"].flops == each


def test_short_windows_are_weighted_and_transformed():
    window = torch.hann_window(16)
    spectrum = Call(lambda x: torch.stft(x, 16, 4, window=window, return_complex=True))
    report = cs.inspect(spectrum, (2, 64))
    layer = report["stft"]
    assert layer.flops == 2 * (64 // 4 + 1) * (16 + butterflies(16))


def test_a_number_that_is_read_from_a_tensor_costs_nothing_and_is_known():
    report = cs.inspect(Call(lambda x: x * x.mean().item()), (3, 8))
    assert (report.macs, report.flops, report.status) == (0, 24 + 1 + 24, "exact")
    assert report["item"].status == "exact" and report["item"].flops == 0


def test_what_is_read_through_a_number_is_part_of_the_field():
    report = cs.inspect(Call(lambda x: 2.0 ** x.mean().item() * x), (1, 2, 9, 9))
    assert report.receptive_field.size == (9, 9)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_values_that_go_back_to_where_they_came_from_cost_nothing(dims):
    pool, unpool = getattr(F, f"max_pool{dims}d"), getattr(F, f"max_unpool{dims}d")
    model = Call(lambda x: unpool(*pool(x, 2, return_indices=True), 2))
    report = cs.inspect(model, (1, 2, *[4] * dims))
    taps = 2**dims
    assert (report.macs, report.flops) == (0, 2 * 4**dims // taps * (taps - 1))
    assert report.status == "exact"


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_quantisation_that_is_rehearsed_costs_seven_operations_a_value(per_channel):
    scale, zero = torch.ones(2), torch.zeros(2)

    def call(x):
        if per_channel:
            return torch.fake_quantize_per_channel_affine(x, scale, zero, 1, 0, 255)
        return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255)

    report = cs.inspect(Call(call), (1, 2, 4, 4))
    assert (report.macs, report.flops, report.status) == (0, 7 * 32, "exact")
    assert report.receptive_field.size == (1, 1)


@pytest.fixture
def torchvision():
    """torchvision's operations; where it is not installed, stand-ins that give the shapes."""
    if hasattr(torch.ops.torchvision, "deform_conv2d"):
        yield torch.ops.torchvision
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(
        "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, "
        "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, "
        "SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor"
    )
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
        "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor"
    )
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for key in ("CPU", "Meta"):
        library.impl(
            "deform_conv2d",
            lambda x, w, offset, *_: x.new_zeros(len(x), len(w), *offset.shape[2:]),
            key,
        )
        library.impl(
            "roi_align", lambda x, r, s, h, w, *_: x.new_zeros(len(r), x.shape[1], h, w), key
        )
    library.impl("nms", lambda boxes, scores, threshold: scores.argsort(descending=True), "CPU")
    yield torch.ops.torchvision
    library._destroy()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_a_deformable_convolution_is_a_convolution_of_samples(torchvision, groups, masked):
    bias = torch.zeros(6)

    def call(x, w, offset, mask):
        return torchvision.deform_conv2d(
            x, w, offset, mask, bias, 1, 1, 1, 1, 1, 1, groups, 1, masked
        )

    shapes = (2, 4, 5, 7), (6, 4 // groups, 3, 3), (2, 18, 5, 7), (2, 9, 5, 7)
    report = cs.inspect(Call(call), list(shapes))
    macs = loops(2, 6, 5, 7, 4 // groups, 3, 3)
    sampled = loops(2, 4, 3, 3, 5, 7) * (7 + masked)
    assert (report.macs, report.status) == (macs, "exact")
    assert report.flops == 2 * macs + loops(2, 6, 5, 7) + sampled
    assert report["deform_conv2d"].kind == "index"


def test_a_box_is_sampled_as_often_as_it_says_or_nobody_knows(torchvision):
    def sampled(ratio):
        call = Call(lambda x, r: torchvision.roi_align(x, r, 1.0, 3, 3, ratio, False))
        return cs.inspect(call, [(1, 4, 9, 9), (2, 5)])

    assert (sampled(2).macs, sampled(2).flops, sampled(2).status) == (
        0, loops(2, 4, 3, 3, 2, 2) * 8, "exact",
    )  # fmt: skip
    assert sampled(-1)["roi_align"].status == "unknown"


def test_every_operation_of_the_table_is_counted_without_an_error():
    """A cost is a count or a reason, whatever the operands look like."""
    from convsmith.network import Layer, TensorType
    from convsmith.network.operations import Operation

    value = TensorType((2, 4, 6, 6), "float32", 4)
    for name, kind in FAMILY_OF.items():
        layer = Layer(name, "", Operation(kind, name), (), (), (value,) * 3, (value,))
        try:
            counted = cost(layer)
        except AssertionError:
            assert FAMILIES[kind].of(name).arithmetic, name
            continue
        assert counted.status != "exact" or counted.macs is not None, name
        assert counted.status == "exact" or counted.reason, name
