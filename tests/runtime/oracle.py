"""Networks compared with themselves in float64."""

from __future__ import annotations

import copy
from typing import Any
from unittest import mock

import torch
from hypothesis import HealthCheck
from torch import Tensor, nn

from convsmith.runtime import compile
from convsmith.runtime.execution import bands
from tests.thoroughness import examples

EPSILON = torch.finfo(torch.float32).eps

few = examples(
    8,
    3,
    12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""Each example is a network that is traced and whose kernels are compiled."""


def fast(model: nn.Module, image: Tensor, *, band: int = 3000, **options: Any) -> tuple[Any, Any]:
    """The compiled network and its outputs, computed in bands of so many bytes."""
    with mock.patch.object(bands.plan, "__defaults__", (band, 1)):
        compiled = compile(model.eval(), image, **options)
        return compiled, compiled(image)


def agree(model: nn.Module, image: Tensor, *, regions: int | None = 1, **options: Any) -> Any:
    """Require errors at most twice those of eager, all outputs being computed by kernels."""
    compiled, found = fast(model, image, **options)
    with torch.no_grad():
        eager = model(image)
        exact = copy.deepcopy(model).double()(image.double())
    if regions is not None:
        assert len(compiled.regions) == regions, compiled.reasons
    for mine, theirs, right in zip(_all(found), _all(eager), _all(exact), strict=True):
        assert mine.shape == right.shape
        scale = right.norm().clamp(min=1e-30)
        error, usual = ((value - right).norm() / scale for value in (mine, theirs))
        assert error <= 2 * usual + EPSILON, (float(error), float(usual))
    return compiled


def agree_on_faults(model: nn.Module, image: Tensor, *more: Tensor, **options: Any) -> None:
    """Require NaN and the infinities where eager has them, and no others.

    Further images of this size are given to the same compiled network.
    """
    compiled, first = fast(model, image, **options)
    for number, each in enumerate((image, *more)):
        found = compiled(each) if number else first
        with torch.no_grad():
            eager = model(each)
        for mine, theirs in zip(_all(found), _all(eager), strict=True):
            for fault in (torch.isnan, torch.isposinf, torch.isneginf):
                assert torch.equal(fault(mine), fault(theirs)), f"{fault.__name__}, image {number}"


def with_faults(image: Tensor, *place: int) -> list[Tensor]:
    """The image with NaN at a place, with infinity, and with minus infinity."""
    images = [image.clone() for _ in range(3)]
    for each, value in zip(images, (torch.nan, torch.inf, -torch.inf)):
        each[place] = value
    return images


def image(channels: int, rows: int, columns: int, seed: int = 0) -> Tensor:
    """Random values; so many images that errors can be compared.

    The error of one value is a matter of luck: terms may cancel in it.
    """
    batch = max(1, 200 // (rows * columns))
    made = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, rows, columns, generator=made)


def kinds(compiled: Any) -> list[str]:
    """What the blocks of all regions are."""
    blocks = [block for region in compiled.regions for block in region.blocks]
    return [getattr(block, "kind", type(block).__name__) for block in blocks]


def _all(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)
