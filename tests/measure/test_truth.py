"""Fields of networks in which a map is lost and found again, by kind: none is too small."""

from __future__ import annotations

import os
import sys
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError


def conv(i, o, k, **options):
    return nn.Conv2d(i, o, k, padding=k // 2, **options)


def net(call, **modules):
    class Net(nn.Module):
        def forward(self, *x):
            return call(self, *x)

    made = Net()
    for name, module in modules.items():
        setattr(made, name, module)
    return made


def shifted(s, x):
    y = torch.zeros_like(x)
    y[:, :, 1:] = s.a(x)[:, :, :-1]
    return y


def gated(s, x):
    y = s.a(x)
    y[:, :1] += s.b(x)[:, :1]
    return y


def with_gradients(s, x):
    with torch.enable_grad():
        return s.b(s.a(x))


def in_autocast(s, x):
    with torch.autocast("cpu"):
        y = s.b(s.a(x))
    return y.to(x.dtype)


def attended(s, x):
    t = x.transpose(1, 2)[None]
    return F.scaled_dot_product_attention(t, t, t, is_causal=True)[0].transpose(1, 2)


def tokens(s, x):
    y = s.l(s.a(x).flatten(2).transpose(1, 2))
    return x + y.transpose(1, 2).reshape(x.shape)


def pixels_to_channels(s, x):
    x = x.view(1, 4, 8, 2, 8, 2).permute(0, 1, 3, 5, 2, 4)
    return s.a(x.reshape(1, 16, 8, 8))


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = conv(4, 4, 3)
        self.register_buffer("n", torch.zeros(()))

    def forward(self, x):
        self.n += 1
        return self.a(x)


S = (1, 4, 17, 17)
CASES = {
    "a gate behind a mean over channels": (
        net(lambda s, x: x * torch.sigmoid(s.g(x.mean(1, keepdim=True))), g=conv(1, 1, 7)),
        S, (7, 7)),
    "a stack and a sum": (
        net(lambda s, x: x + torch.stack([s.a(x), x]).sum(0), a=conv(4, 4, 7)), S, (7, 7)),
    "tokens": (net(tokens, a=conv(4, 4, 7), l=nn.Linear(4, 4)), S, (7, 7)),
    "an uneven adaptive pool": (
        net(lambda s, x: x + F.interpolate(F.adaptive_avg_pool2d(x, 6), size=(17, 17))),
        S, (4, 4)),
    "a write into a slice": (net(shifted, a=conv(4, 4, 3)), S, (3, 3)),
    "a write into a channel": (net(gated, a=conv(4, 4, 1), b=conv(4, 4, 5)), S, (5, 5)),
    "a bound that is a tensor": (
        net(lambda s, x: torch.clamp(s.a(x), min=s.b(x)), a=conv(4, 4, 3), b=conv(4, 4, 5)),
        S, (5, 5)),
    "batch norm of the batch": (nn.BatchNorm2d(4, track_running_stats=False), S, (17, 17)),
    "causal attention": (net(attended), (1, 4, 33), (17,)),
    "argmax over channels": (net(lambda s, x: s.a(x).argmax(1), a=conv(4, 4, 3)), S, (3, 3)),
    "pixels to channels": (net(pixels_to_channels, a=conv(16, 4, 3)), (1, 4, 16, 16), (6, 6)),
    "interpolation by area": (
        net(lambda s, x: F.interpolate(x, size=(8, 8), mode="area")), S, (3, 3)),
    "channels in another order": (
        net(lambda s, x: s.a(x[:, [3, 2, 1, 0]]), a=conv(4, 4, 3)), S, (3, 3)),
    "channels last": (
        net(lambda s, x: s.a(x.permute(0, 3, 1, 2)), a=conv(3, 4, 3)), (1, 17, 17, 3), (3, 3)),
    "no batch": (nn.Sequential(conv(3, 3, 3), conv(3, 3, 3)), (3, 17, 17), (5, 5)),
    "a counter": (Counter(), S, (3, 3)),
    "gradients enabled": (net(with_gradients, a=conv(4, 4, 5), b=conv(4, 4, 3)), S, (7, 7)),
    "autocast": (net(in_autocast, a=conv(4, 4, 5), b=conv(4, 4, 3)), S, (7, 7)),
    "up again": (
        nn.Sequential(nn.Conv2d(2, 2, 3, 2, 1), nn.ConvTranspose2d(2, 2, 3, 2, 1, 1)),
        (1, 2, 18, 18), (5, 5)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_field_is_the_true_one(case):
    model, shape, size = CASES[case]
    field = cs.inspect(model, shape).receptive_field
    assert field.size == size
    whole = size == (17, 17)
    assert field.status == ("whole image" if whole else "exact")
    assert bool(field.reason) == (whole or "centres" in field.reason)


def test_what_is_not_known_is_named():
    model = net(lambda s, x: s.a(x).sort(2).values, a=conv(4, 4, 3))
    field = cs.inspect(model, S).receptive_field
    assert field.size == (17, 17) and field.status == "upper bound" and "sort" in field.reason


def test_a_roll_over_all_dimensions_is_a_bound():
    model = net(lambda s, x: torch.roll(x[..., 1::2, 1:], 1))
    field = cs.inspect(model, (1, 2, 9, 7)).receptive_field
    assert field.status == "upper bound" and "roll" in field.reason


def test_each_operand_of_a_computed_layer_counts():
    for call in [
        lambda s, x: F.linear(x, x.mean((1, 2))),
        lambda s, x: F.conv2d(x, x.mean((2, 3), keepdim=True).expand(4, 4, 1, 1)),
        lambda s, x: F.batch_norm(x, torch.zeros(4), torch.ones(4), x.mean((0, 2, 3))),
        lambda s, x: x.clone().fill_(x.mean()),
        lambda s, x: torch.einsum("nchw,ncij->nchw", x, x),
    ]:
        field = cs.inspect(net(call), S).receptive_field
        assert field.size[0] == 17 and field.status != "exact" and field.reason


@pytest.mark.parametrize(
    ("shape", "axes", "size"),
    [((2, 9, 8, 4), "NHWC", (9, 8)), ((4, 9, 8), "CHW", (9, 8)), ((2, 5, 4, 9, 8), "NTCHW",
      (5, 9, 8)), ((2, 9), "NT", (9,))],
)  # fmt: skip
def test_axes_are_those_that_are_named(shape, axes, size):
    dims = tuple(d for d, letter in enumerate(axes) if letter not in "NC")
    model = net(lambda s, x: x + x.mean(dims, keepdim=True))
    report = cs.inspect(model, shape, axes=axes)
    assert report.axes == axes and report.receptive_field.size == size
    assert report.receptive_field.status == "whole image"
    assert "mean" in report.receptive_field.reason


@pytest.mark.parametrize("axes", ["NC", "NHHC", "N-HC", "", "NCHWD"])
def test_axes_that_do_not_fit_are_refused(axes):
    with pytest.raises(ArgumentError, match="axes"):
        cs.inspect(conv(4, 4, 3), S, axes=axes)


def test_the_layout_is_seen_from_the_first_window():
    video = net(lambda s, x: s.a(x.flatten(0, 1)).unflatten(0, (2, 3)), a=conv(4, 4, 3))
    for model, shape, axes in [
        (conv(4, 4, 3), S, "NCHW"),
        (conv(4, 4, 3), S[1:], "CHW"),
        (net(lambda s, x: s.a(x.permute(0, 3, 1, 2)), a=conv(3, 4, 3)), (1, 9, 9, 3), "NHWC"),
        (video, (2, 3, 4, 9, 9), "NTCHW"),
        (net(lambda s, x: s.a(x[:, None]), a=nn.Conv1d(1, 2, 3)), (2, 9), "NL"),
        (
            net(
                lambda s, x: F.conv2d(x.view(1, 2, 9, 9), s.a.weight[:, :2], groups=1).mean(1),
                a=conv(2, 2, 3),
            ),
            (2, 1, 9, 9),
            "NCHW",
        ),
        (nn.Linear(4, 4), (2, 4), ""),
    ]:
        assert cs.inspect(model, shape).axes == axes


def test_halo_and_largest_are_over_all_positions():
    up = nn.Sequential(conv(1, 1, 3), nn.Upsample(scale_factor=2), conv(1, 1, 3))
    field = cs.inspect(up, (1, 1, 16, 16)).receptive_field
    assert field.size == (4, 4) == field.largest
    assert field.halo == ((2, 2), (2, 2))
    for stride, halo in [(1, (1, 1)), (2, (1, 0)), (3, (1, 0))]:
        field = cs.inspect(nn.Conv2d(1, 1, 3, stride, 1), (1, 1, 18, 18)).receptive_field
        assert field.halo == (halo, halo) and field.largest == field.size == (3, 3)


class Lazy(nn.Module):
    """A cache that the first forward pass fills, in every place where models keep one."""

    def __init__(self):
        super().__init__()
        self.kept, self.list, self.inner = {}, [], conv(3, 3, 3)

    def forward(self, x):
        if not hasattr(self, "grid"):
            self.grid = torch.linspace(0, 1, x.shape[-1])
        if "rows" not in self.kept:
            self.kept["rows"] = torch.arange(x.shape[-2])[:, None] / 9
            self.list.append(self.kept["rows"])
            self.inner.seen = self.grid
        return self.inner(x) * self.grid + self.kept["rows"]


def test_caches_that_forward_fills_stay_empty():
    model = Lazy()
    report = cs.inspect(model, (1, 3, 8, 8))
    assert report.memory is not None and report.sizes() is not None
    report.latency(seconds=0.01)
    assert not hasattr(model, "grid") and not model.kept and not model.list
    assert not hasattr(model.inner, "seen")
    assert type(model(torch.ones(1, 3, 8, 8))) is torch.Tensor


def test_several_threads_inspect_at_once():
    """With the thorough profile, 8 threads inspect 50 times each."""
    times = 50 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 5
    stdout, failures = sys.stdout, []
    models = [conv(3, 4, k) for k in (1, 3, 5, 7)]

    def work(number):
        model = models[number % len(models)]
        size = 1 + 2 * (number % len(models))
        for _ in range(times):
            try:
                assert cs.inspect(model, (1, 3, 15, 15)).receptive_field.size == (size, size)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and sys.stdout is stdout
