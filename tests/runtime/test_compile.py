"""`compile` on any input: a size it was not made for, wrong ones, and weights that change."""

from __future__ import annotations

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.runtime.graph import patience
from tests.thoroughness import examples


class Residual(nn.Module):
    """Convolutions, a residual, a squeeze-and-excite, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 20, 3, 2, 1), nn.BatchNorm2d(20), nn.ReLU6(True))
        self.deep = nn.Sequential(nn.Conv2d(20, 20, 3, 1, 1, groups=20), nn.Conv2d(20, 20, 1))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(20, 20, 1), nn.Sigmoid())
        self.head = nn.Linear(20, 7)

    def features(self, x):
        x = self.stem(x)
        x = x + self.deep(x)
        return x * self.gate(x)

    def forward(self, x):
        return self.head(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class Viewed(Residual):
    """Sizes as arguments of reshapes and of an interpolation."""

    def forward(self, x):
        y = self.features(x)
        y = F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)
        return self.head(y.view(x.shape[0], 20, -1).mean(2))


class Branching(Residual):
    """Code that depends on the size and on the number of images."""

    def forward(self, x):
        if x.shape[2] % 2:
            x = F.pad(x, (0, 0, 0, 1))
        y = self.features(x)
        if x.shape[0] == 1:
            y = 2 * y
        if y.shape[-1] > y.shape[-2]:
            y = y.transpose(2, 3)
        return y


class Pyramid(Residual):
    """Pools whose windows follow from the size, and a residual that broadcasts in small images."""

    def forward(self, x):
        y = self.features(x)
        small = F.adaptive_avg_pool2d(y, (4, 3))
        return F.adaptive_max_pool2d(self.deep(small), 1) + y


def made(kind, seed=0):
    torch.manual_seed(seed)
    model = kind().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


def agree(fast, model, x):
    with torch.no_grad():
        wanted = copy.deepcopy(model).double()(x.double())
        eager = model(x)
    got = fast(x)
    assert got.shape == eager.shape
    assert got.dtype == eager.dtype
    scale = wanted.abs().max() if wanted.numel() else 1
    assert torch.all((got - wanted).abs() <= 1e-5 * scale)


KINDS = [Residual, Viewed, Branching, Pyramid]
COMPILED = {}


def compiled(kind):
    if kind not in COMPILED:
        model = made(kind)
        COMPILED[kind] = cs.compile(model, (1, 3, 24, 20), threads=2), model
    return COMPILED[kind]


@pytest.mark.parametrize("kind", KINDS)
@examples(12, deadline=None)
@given(batch=st.integers(0, 3), rows=st.integers(1, 40), columns=st.integers(1, 40))
def test_any_size(kind, batch, rows, columns):
    fast, model = compiled(kind)
    x = torch.randn(batch, 3, rows, columns, generator=torch.Generator().manual_seed(rows))
    try:
        with torch.no_grad():
            model(x)
    except (RuntimeError, ValueError):
        with pytest.raises(ArgumentError):
            fast(x)
        return
    agree(fast, model, x)
    agree(fast, model, x.to(memory_format=torch.channels_last))


def test_a_model_that_does_the_same_at_every_size_is_captured_once():
    model = made(Residual)
    fast = cs.compile(model, (1, 3, 32, 32))
    for shape in [(1, 3, 47, 33), (3, 3, 16, 8), (2, 3, 64, 5)]:
        fast(torch.rand(shape))
    assert {id(variant.graph) for variant in fast._variants.values()} == {id(fast.graph)}


class Named(nn.Module):
    """A network whose input is not called as a Sequential's."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, image):
        return self.inner(image)


@pytest.mark.parametrize("wrapped", [nn.Identity, Named], ids=["sequential", "named"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_kernels_compute_other_sizes_as_those_of_the_example(wrapped, mode):
    """One capture serves them, all layers in kernels, with the bits of a compilation for them."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.Upsample(scale_factor=2, mode=mode), nn.Conv2d(16, 4, 3)
    ).eval()
    model = layers if wrapped is nn.Identity else wrapped(layers)
    fast = cs.compile(model, (1, 3, 32, 32))
    for size in ((40, 40), (33, 47), (17, 90)):
        x = torch.rand(1, 3, *size)
        assert torch.equal(fast(x), cs.compile(model, x)(x))
        assert not fast._variant((x,), {}).reasons
    assert len({id(variant.graph) for variant in fast._variants.values()}) == 2


def test_sizes_as_arguments_are_captured_as_free_sizes_once():
    model = made(Viewed)
    fast = cs.compile(model, (2, 3, 32, 32))
    for shape in [(2, 3, 47, 33), (3, 3, 16, 8), (5, 3, 64, 15)]:
        agree(fast, model, torch.rand(shape))
    assert len({id(variant.graph) for variant in fast._variants.values()}) == 2


def test_another_batch_leaves_only_the_batch_open():
    """Each size that is left open costs PyTorch more than the one before, up to minutes."""
    model = made(Viewed)
    fast = cs.compile(model, (2, 3, 32, 32))
    for batch in (3, 5):
        agree(fast, model, torch.rand(batch, 3, 32, 32))
    assert len({id(variant.graph) for variant in fast._variants.values()}) == 2
    program = list(fast._variants.values())[-1].captured.program
    (name,) = program.graph_signature.user_inputs
    (image,) = (node for node in program.graph.nodes if node.name == name)
    assert [isinstance(n, int) for n in image.meta["val"].shape] == [False, True, True, True]


def test_what_takes_too_long_with_open_sizes_is_captured_at_each_size(monkeypatch):
    monkeypatch.setattr(patience, "_SECONDS", 0)
    model = made(Viewed)
    fast = cs.compile(model, (2, 3, 32, 32))
    for shape in [(2, 3, 47, 33), (3, 3, 16, 8)]:
        agree(fast, model, torch.rand(shape))
    assert len({id(variant.graph) for variant in fast._variants.values()}) == 3


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (torch.zeros(1, 4, 24, 20), "1×4×24×20 float32"),
        (torch.zeros(24, 20), "24×20 float32"),
        (torch.zeros(1, 3, 24, 20, dtype=torch.float64), "1×3×24×20 float64"),
        (torch.zeros(1, 3, 24, 20, dtype=torch.float16), "1×3×24×20 float16"),
        (torch.zeros(1, 3, 24, 20, dtype=torch.int64), "1×3×24×20 int64"),
        (torch.zeros(1, 3, 24, 20, device="meta"), "1×3×24×20 float32"),
    ],
)
def test_what_the_model_refuses_is_refused_by_name(value, named):
    fast, _ = compiled(Residual)
    with pytest.raises(ArgumentError, match=re.escape(f"does not take {named}")):
        fast(value)


def test_other_leaves_and_other_numbers_of_inputs():
    fast, _ = compiled(Residual)
    with pytest.raises(ArgumentError, match="not object"):
        fast(object())
    with pytest.raises(ArgumentError):
        fast()
    with pytest.raises(ArgumentError):
        fast(torch.zeros(1, 3, 24, 20), torch.zeros(1))


def test_one_image_without_a_batch():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    fast = cs.compile(model, (1, 3, 9, 9))
    agree(fast, model, torch.randn(3, 11, 10))


def test_named_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, image, scale):
            return self.conv(image) * scale

    model = Two().eval()
    fast = cs.compile(model, {"image": torch.zeros(1, 3, 9, 9), "scale": torch.ones(1)})
    image, scale = torch.randn(2, 3, 12, 7), torch.tensor([3.0])
    with torch.no_grad():
        torch.testing.assert_close(fast(scale=scale, image=image), model(image, scale))


def test_weights_that_change_are_taken_over():
    model = made(Residual)
    fast = cs.compile(model, (1, 3, 24, 20))
    x = torch.randn(2, 3, 24, 20)
    agree(fast, model, x)
    with torch.no_grad():
        model.stem[0].weight.mul_(-2)
    agree(fast, model, x)
    model.stem[1].running_mean.add_(1)
    agree(fast, model, x)
    model.deep[1].weight.data = torch.randn_like(model.deep[1].weight)
    agree(fast, model, x)
    model.load_state_dict(made(Residual, seed=1).state_dict())
    agree(fast, model, x)


def test_the_model_is_left_as_it_was():
    model = made(Residual).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    fast = cs.compile(model, (1, 3, 24, 20))
    fast(torch.zeros(1, 3, 30, 30))
    assert torch.equal(state, torch.get_rng_state())
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_it_is_for_inference_on_this_machine_alone():
    fast, _ = compiled(Residual)
    assert fast.eval() is fast
    for wrong in (fast.train, fast.half, lambda: fast.to("meta")):
        with pytest.raises(ArgumentError):
            wrong()
    x = torch.randn(1, 3, 24, 20, requires_grad=True)
    assert not fast(x).requires_grad


def test_programs_and_signatures_do_not_pile_up():
    model = nn.Conv2d(2, 3, 1).eval()
    fast = cs.compile(model, (1, 2, 4, 4), threads=1)
    for size in range(1, 60):
        fast(torch.zeros(1, 2, size, 3))
    (region,) = fast.regions
    assert len(region._sized) == 16
    assert len(fast._variants) == 32
    agree(fast, model, torch.randn(1, 2, 1, 3))


def test_progress_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path))
    told = []
    cs.compile(
        nn.Conv2d(2, 3, 1).eval(), (1, 2, 4, 4), threads=1, progress=lambda *a: told.append(a)
    )
    assert told == [("compiling kernels", 1, 1)]


def test_bad_arguments():
    with pytest.raises(ArgumentError, match="not 0"):
        cs.compile(nn.Conv2d(2, 3, 1), (1, 2, 4, 4), threads=0)
    with pytest.raises(ArgumentError, match="not str"):
        cs.compile("resnet18", (1, 2, 4, 4))


def test_an_exported_program():
    model = made(Residual)
    free = torch.export.export(
        model,
        (torch.zeros(2, 3, 24, 20),),
        dynamic_shapes=((torch.export.Dim.AUTO,) * 4,),
        strict=False,
    )
    fast = cs.compile(free, (2, 3, 24, 20))
    agree(fast, model, torch.randn(2, 3, 24, 20))
    agree(fast, model, torch.randn(3, 3, 40, 21))
    fixed = torch.export.export(model, (torch.zeros(2, 3, 24, 20),))
    with pytest.raises(ArgumentError, match="exported for axis 2"):
        cs.compile(fixed, (2, 3, 24, 20))(torch.zeros(2, 3, 25, 20))
