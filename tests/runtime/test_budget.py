"""What bf16 costs, where that arises, and which layers stay float32 for a budget."""

from __future__ import annotations

import copy

import pytest

pytest.importorskip("halide")

import torch
from torch import Tensor, nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.runtime.precision import lacks_bf16

needs_bf16 = pytest.mark.skipif(bool(lacks_bf16()), reason=f"no bf16: {lacks_bf16()}")


class _Loud(nn.Module):
    """Two branches, of which one decides; the other is lost beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU6())
        self.loud = nn.Sequential(
            nn.Conv2d(32, 32, 3, 1, 1, groups=32), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.Hardswish()
        )
        self.quiet = nn.Sequential(nn.Conv2d(32, 32, 1), nn.ReLU())
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = 20 * self.loud(x) + 0.01 * self.quiet(x)
        return self.head(self.pool(x).flatten(1))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(1)
    return _Loud().eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def _moved(net: nn.Module, path: str, images: Tensor, *, factors: str = "") -> float:
    """The error of the outputs if one layer's values alone are rounded, and a stem's factors."""
    changed = copy.deepcopy(net)
    given = images.bfloat16().float() if factors else images
    with torch.no_grad():
        if factors:
            weight = changed.get_parameter(f"{factors}.weight")
            weight.copy_(weight.bfloat16().float())
        changed.get_submodule(path).register_forward_hook(lambda _, __, y: y.bfloat16().float())
        found, right = changed(given), net(images)
    return float((found - right).norm() / right.norm())


@needs_bf16
def test_where_the_error_arises(net: nn.Module, images: Tensor) -> None:
    found = cs.compile(net, images[:1], precision="bf16").compare(images)
    errors = {origin.name: origin.error for origin in found.origins}
    assert sum(origin.share for origin in found.origins) == pytest.approx(1)
    assert [*errors.values()] == sorted(errors.values(), reverse=True)
    # The squares of what is independent add up to what kernels are off by, nearly.
    assert sum(error**2 for error in errors.values()) ** 0.5 == pytest.approx(found.error, rel=0.5)
    # A full convolution reads the stem, too: image and weights are rounded as well as its values.
    stem = _moved(net, "stem.2", images, factors="stem.0")
    assert stem > 1.1 * _moved(net, "stem.2", images)
    assert errors["stem.2"] == pytest.approx(stem, rel=0.2)
    assert errors["quiet.1"] < 0.01 * min(errors["stem.2"], errors["loud.3"])
    assert f"the error arises in {found.origins[0].name} (" in str(found)
    assert found.origin_table().rows[0][0] == found.origins[0].name
    assert not cs.compile(net, images[:1]).compare(images).origins
    # Nor is it torch that is compared with itself, where that runs new sizes.
    options = {"precision": "bf16", "new_sizes": "torch"}
    assert cs.compile(net, images[:1], **options).compare(images).error == found.error


@needs_bf16
def test_a_budget_keeps_what_it_needs() -> None:
    torch.manual_seed(1)
    net, images = _Loud().eval(), torch.randn(512, 3, 16, 16)
    with torch.no_grad():  # classes that most images are near to
        net.head.bias -= net(images).mean(0)
    options = {"precision": "bf16", "images": images}
    free = cs.compile(net, images[:1], agreement=0.05, **options)
    assert (free.keep, free.price.images) == ((), 512)
    assert free.price.agreement < 1
    labelled = [(images, torch.zeros(512))]
    strict = cs.compile(net, images[:1], agreement=1.0, **options | {"images": labelled})
    assert strict.price.agreement == strict.compare(images).agreement == 1.0
    assert free.price.origins[0].name in strict.keep
    assert "quiet.1" not in strict.keep
    assert f"bf16, but {len(strict.keep)} layers" in repr(strict)
    named = cs.compile(net, images[:1], agreement=0.05, keep=["quiet.0"], **options)
    assert named.keep == ("quiet.0",)


@needs_bf16
def test_a_budget_out_of_reach(
    net: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convsmith.runtime import budget

    monkeypatch.setattr(budget.Compiled, "compare", _never)
    with pytest.raises(ArgumentError, match=r"^agreement=0.9 is out of reach: it is 50.0 % with"):
        cs.compile(net, images[:1], precision="bf16", agreement=0.9, images=images)


def _never(compiled: cs.Compiled, images: Tensor, *, origins: bool = True) -> object:
    from convsmith.runtime.agreement import Agreement
    from convsmith.runtime.origins import Origin

    return Agreement("N", "bf16", 1, 0.5, 0.1, 0.1, (Origin("loud.2", ("loud.2",), 0.1, 1.0),))


def test_budgets_that_make_no_sense(net: nn.Module, images: Tensor) -> None:
    for options, message in (
        ({"agreement": 0.9}, r"^agreement=0.9 needs precision='bf16'$"),
        ({"images": images}, r"^images are for agreement=…, which is not given$"),
        ({"agreement": 0, "precision": "bf16"}, r"^agreement is above 0 and at most 1, not 0$"),
        ({"agreement": "1", "precision": "bf16"}, r"^agreement is a share of the images, not '1'$"),
        (
            {"agreement": 0.9, "precision": "bf16"},
            r"^agreement=0.9 needs images=…, which it is measured with$",
        ),
        (
            {"agreement": 0.9, "precision": "bf16", "images": iter([images])},
            r"^images are gone through several times: pass a list or a tensor$",
        ),
    ):
        with pytest.raises(ArgumentError, match=message):
            cs.compile(net, images[:1], **options)
