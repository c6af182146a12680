"""Least squares for one convolution: its sums over all places, and their solution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.rewrite.lightening.fit.moments import patches

__all__ = [
    "Regression", "Sample", "columns", "put", "spread", "unexplained", "weights_of", "windows",
]  # fmt: skip

Pairs = tuple[int, Tensor, Tensor]

# Values in memory at a time, in float64: unfolded patches, and a sample.
_CHUNK = 2**22
_SAMPLE = 2**20

# A regression needs this many places, and more for each feature: places of one map are much alike,
# and ten times as many leave the solution where it is.
_PLACES, _EACH = 2**15, 128


@dataclass(eq=False)
class Regression:
    """Sums over places for each group: of features z, of targets y, and of their products.

    Attributes:
        gram: of z with z, (groups, features, features).
        cross: of z with y, (groups, features, outputs).
        power: of y squared, (groups, outputs).
        sums: of z and of y.
        places: how many there were.
        images: that they are from.
    """

    IMAGES: ClassVar[int] = 64
    """It needs so many that differ."""

    gram: Tensor
    cross: Tensor
    power: Tensor
    sums: tuple[Tensor, Tensor]
    places: int = 0
    images: int = 0

    @classmethod
    def of(cls, conv: _ConvNd) -> Regression:
        """Empty sums for the weights of a convolution."""
        groups, outputs, features = weights_of(conv).shape
        zeros = torch.zeros(groups, features + outputs, dtype=torch.float64)
        return cls(
            torch.zeros(groups, features, features, dtype=torch.float64),
            torch.zeros(groups, features, outputs, dtype=torch.float64),
            zeros[:, features:].clone(),
            (zeros[:, :features].clone(), zeros[:, features:].clone()),
        )

    @property
    def enough(self) -> bool:
        """Whether more images would change nothing."""
        return self.images >= self.IMAGES and self.places >= self._most

    def add(self, conv: _ConvNd, maps: Tensor, wanted: Tensor) -> None:
        """Count the inputs of `conv`, (images, channels, *size), and the outputs it is to give.

        Of large maps, as many places as are enough, drawn evenly.
        """
        each = prod(wanted.shape[2:])
        images = max(self.IMAGES, -(-self._most // each)) - self.images
        maps, wanted = maps[:images], wanted[:images]
        share = min(1.0, self._most / max(1, len(maps) * each))
        random = torch.Generator().manual_seed(self.images)
        drawn: Tensor | None = None
        for first, z, y in columns(conv, maps, wanted):
            if share < 1:
                # The same places in every group, as they come in the same chunks of images.
                if first == 0 or drawn is None:
                    drawn = (torch.rand(z.shape[2], generator=random) < share).nonzero()[:, 0]
                z, y = z[:, :, drawn], y[:, :, drawn]
            some = slice(first, first + len(z))
            self.gram[some] += z @ z.mT
            self.cross[some] += z @ y.mT
            self.power[some] += y.square().sum(2)
            self.sums[0][some] += z.sum(2)
            self.sums[1][some] += y.sum(2)
            self.places += z.shape[2] if first == 0 else 0
        self.images += len(maps)

    @property
    def _most(self) -> int:
        return _PLACES + _EACH * self.gram.shape[1]

    def centred(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Covariances of z with z and with y, the variance of y, and both means."""
        mean_z, mean_y = (total / self.places for total in self.sums)
        gram = self.gram / self.places - mean_z[:, :, None] * mean_z[:, None, :]
        cross = self.cross / self.places - mean_z[:, :, None] * mean_y[:, None, :]
        return gram, cross, (self.power / self.places - mean_y**2).clamp_min(0), mean_z, mean_y

    def solve(self, start: Tensor, ridge: float) -> tuple[Tensor, Tensor, float]:
        """The weights (groups, outputs, features) and bias of least error, and what is left.

        The ridge pulls towards `start`, for each feature by its own variance: a direction that no
        place shows keeps its value, and it does not matter how the layers before share a scale.
        """
        gram, cross, variance, mean_z, mean_y = self.centred()
        pull = torch.diag_embed(ridge * spread(gram))
        solved = torch.linalg.solve(gram + pull, cross + pull @ start.mT)
        explained = 2 * (solved * cross).sum() - (solved * (gram @ solved)).sum()
        total = variance.sum()
        bias = mean_y - (mean_z[:, None] @ solved)[:, 0]
        return solved.mT, bias, unexplained(float(explained), float(total))


def unexplained(explained: float, total: float) -> float:
    """The share of a variance that is left.

    Of few places all may be explained, and by rounding a little more than all.
    """
    return max(0.0, 1 - explained / total) if total > 0 else 0.0


@dataclass(eq=False)
class Sample:
    """Features and targets of some places, drawn evenly from all that are offered.

    Attributes:
        share: how much of what is offered is kept.
    """

    share: float
    kept: dict[int, list[tuple[Tensor, Tensor]]]
    random: torch.Generator

    @classmethod
    def of(cls, conv: _ConvNd, places: int) -> Sample:
        """An empty sample, of a size that memory allows, from so many places in all."""
        groups, outputs, features = weights_of(conv).shape
        most = _SAMPLE // (groups * (features + outputs))
        return cls(min(1.0, most / places), {}, torch.Generator().manual_seed(0))

    def add(self, conv: _ConvNd, maps: Tensor, wanted: Tensor) -> None:
        """Offer inputs of `conv`, (images, channels, *size), and the outputs it is to give."""
        drawn: Tensor | None = None
        for first, z, y in columns(conv, maps, wanted):
            # The same places in every group, as they come in the same chunks of images.
            if first == 0 or drawn is None:
                drawn = torch.rand(z.shape[2], generator=self.random) < self.share
            self.kept.setdefault(first, []).append((z[:, :, drawn], y[:, :, drawn]))

    def values(self) -> tuple[Tensor, Tensor]:
        """The features (groups, features, places) and targets (groups, outputs, places)."""
        z, y = (
            torch.cat([torch.cat([pair[i] for pair in self.kept[f]], 2) for f in sorted(self.kept)])
            for i in range(2)
        )
        return z, y


def weights_of(conv: _ConvNd) -> Tensor:
    """The weights as a regression has them, (groups, outputs, features), in float64."""
    weight = conv.weight.detach().cpu().double()
    weight = weight.reshape(conv.groups, -1, weight.shape[1], prod(conv.kernel_size))
    return (weight.transpose(1, 2) if conv.transposed else weight).flatten(2)


def put(conv: _ConvNd, weights: Tensor, bias: Tensor) -> None:
    """Undo `weights_of` in place; a convolution without bias stays without."""
    groups, outputs, _ = weights.shape
    weights = weights.reshape(groups, outputs, -1, prod(conv.kernel_size))
    weights = weights.transpose(1, 2) if conv.transposed else weights
    conv.weight.copy_(weights.reshape(conv.weight.shape))
    if conv.bias is not None:
        conv.bias.copy_(bias.flatten())


def columns(conv: _ConvNd, maps: Tensor, wanted: Tensor) -> Iterator[Pairs]:
    """Features (groups, features, places) and targets (groups, outputs, places), in chunks.

    Each comes with the first of its groups; a chunk of images comes for all groups in turn.
    """
    groups, outputs, features = weights_of(conv).shape
    inputs = conv.in_channels // groups
    places = prod(wanted.shape[2:])
    images = max(1, _CHUNK // (groups * features * places))
    step = max(1, _CHUNK // (features * places)) if images == 1 else groups
    for begin in range(0, len(maps), images):
        x, y = maps[begin : begin + images], wanted[begin : begin + images]
        for first in range(0, groups, step):
            some = x[:, first * inputs : (first + step) * inputs]
            z = windows(conv, some, wanted.shape[2:])
            z = z.reshape(len(x), -1, features, places).permute(1, 2, 0, 3)
            target = y.reshape(len(y), groups, outputs, places)[:, first : first + step]
            yield first, z.flatten(2).cpu().double(), _flat(target).cpu().double()


def spread(gram: Tensor) -> Tensor:
    """The variance of each feature, those of dead ones lifted a little above zero."""
    scale = gram.diagonal(dim1=1, dim2=2)
    return scale.maximum(1e-6 * scale.amax(1, keepdim=True)).clamp_min(1e-12)


def _flat(values: Tensor) -> Tensor:
    return values.permute(1, 2, 0, 3).flatten(2)


def windows(conv: _ConvNd, maps: Tensor, size: Sequence[int]) -> Tensor:
    """`patches`, also of a transposed convolution, whose output has this size.

    It is an ordinary one with the kernel reversed, over the input with zeros between its values.
    """
    if not conv.transposed:
        return patches(conv, maps)
    dims = len(conv.kernel_size)
    lengths = [(n - 1) * s + 1 for n, s in zip(maps.shape[2:], conv.stride, strict=True)]
    spaced = maps.new_zeros(*maps.shape[:2], *lengths)
    spaced[(..., *(slice(None, None, step) for step in conv.stride))] = maps  # type: ignore[index]
    sides: list[int] = []
    for axis, (k, d) in enumerate(zip(conv.kernel_size, conv.dilation, strict=True)):
        reach, low = d * (k - 1), d * (k - 1) - int(conv.padding[axis])
        sides = [low, size[axis] + reach - low - lengths[axis], *sides]
    kinds: tuple[Callable[..., _ConvNd], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    plain = kinds[dims - 1](1, 1, conv.kernel_size, dilation=conv.dilation, device="meta")
    return patches(plain, F.pad(spaced, sides)).flip(2)
