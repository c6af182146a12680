"""The forms a convolution may take when it is lightened, and what each of them costs and loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.arithmetic import Chain, Conv, ConvTranspose
from convsmith.nn import (
    ComposedConv,
    DepthwiseSeparableConv1d,
    DepthwiseSeparableConv2d,
    DepthwiseSeparableConv3d,
    DepthwiseSeparableConvTranspose1d,
    DepthwiseSeparableConvTranspose2d,
    DepthwiseSeparableConvTranspose3d,
    Factored,
    PointwiseFirstConv,
    Rank,
    SeparablePair,
    SpatiallySeparableConv,
    TuckerConv,
)
from convsmith.rewrite.lightening.fit.decompose import decomposition_errors, lost_shares

__all__ = ["FORMS", "Form", "arithmetic_of"]

# Ranks between the lightest and the convolution's own cost, a constant factor apart.
_STEPS = 8

_PAIRS: dict[type[_ConvNd], type[SeparablePair]] = {
    nn.Conv1d: DepthwiseSeparableConv1d,
    nn.Conv2d: DepthwiseSeparableConv2d,
    nn.Conv3d: DepthwiseSeparableConv3d,
    nn.ConvTranspose1d: DepthwiseSeparableConvTranspose1d,
    nn.ConvTranspose2d: DepthwiseSeparableConvTranspose2d,
    nn.ConvTranspose3d: DepthwiseSeparableConvTranspose3d,
}


@dataclass(frozen=True)
class Form:
    """One way to factor a convolution.

    Attributes:
        name: what a report calls it.

    `conv` is a torch convolution throughout, ordinary or transposed, of one to three axes; `size`
    is the spatial size of its *input*, which costs hang on, as some parts work at that size.
    """

    name: str

    def layer(self, conv: _ConvNd) -> type[Factored]:
        """The class of the layers that take its place."""
        raise NotImplementedError

    def reason(self, conv: _ConvNd) -> str:
        """Why it cannot take this form; '' if it can."""
        raise NotImplementedError

    def full_rank(self, conv: _ConvNd) -> Rank:
        """The least rank at which the output is the same, whatever the weights."""
        raise NotImplementedError

    def ranks(self, conv: _ConvNd, size: Sequence[int] | None = None) -> tuple[Rank, ...]:
        """Ranks to choose from, in ascending cost: those with fewer multiply-adds than `conv`.

        Without a size, on a map so large that its border does not count.
        """
        if self.reason(conv):
            return ()
        size = size or _large(conv)
        limit = arithmetic_of(conv).macs(tuple(size))
        found = {rank: self.macs(conv, size, rank) for rank in self._candidates(conv)}
        return tuple(sorted((r for r in found if found[r] < limit), key=lambda r: found[r]))

    def macs(self, conv: _ConvNd, size: Sequence[int], rank: Rank) -> int:
        """Multiply-adds for one image, as `inspect` counts them."""
        parts = self.layer(conv).parts(conv, rank)
        return Chain(*(arithmetic_of(part) for part in parts)).macs(tuple(size))

    def params(self, conv: _ConvNd, rank: Rank) -> int:
        """Parameters, with a bias where the convolution has one."""
        parts = self.layer(conv).parts(conv, rank, bias=conv.bias is not None)
        return sum(p.numel() for part in parts for p in part.parameters())

    def make(self, conv: _ConvNd, rank: Rank, moments: Tensor | None = None) -> Factored:
        """The layer of this rank that is closest to the convolution.

        Args:
            conv: what it stands for.
            rank: one of `ranks`, or up to `full_rank`.
            moments: (in_channels, taps, taps), the covariance of each input channel's patches.
        """
        return self.layer(conv).from_conv(conv, rank, moments=moments)

    def error(
        self, conv: _ConvNd, ranks: Sequence[Rank], moments: Tensor | None = None
    ) -> list[float]:
        """The share of the response's variance that is lost at each rank, before any refit.

        Input channels are taken as uncorrelated, their patches as having these covariances, or as
        white where there are none.
        """
        raise NotImplementedError

    def _candidates(self, conv: _ConvNd) -> list[Rank]:
        raise NotImplementedError


class _DepthwiseFirst(Form):
    """`nn.DepthwiseSeparableConv*d`; the rank is the number of kernels a channel."""

    def layer(self, conv: _ConvNd) -> type[Factored]:
        return next(pair for kind, pair in _PAIRS.items() if isinstance(conv, kind))

    def reason(self, conv: _ConvNd) -> str:
        if conv.weight[0, 0].numel() == 1:
            return "pointwise already"
        if conv.in_channels == conv.groups:
            return "depthwise already" if conv.groups > 1 else "one channel: nothing to separate"
        return ""

    def full_rank(self, conv: _ConvNd) -> int:
        return min(conv.out_channels // conv.groups, conv.weight[0, 0].numel())

    def error(
        self, conv: _ConvNd, ranks: Sequence[Rank], moments: Tensor | None = None
    ) -> list[float]:
        every = decomposition_errors(conv, moments)
        return [every[int(rank) - 1] for rank in ranks]  # type: ignore[arg-type]

    def _candidates(self, conv: _ConvNd) -> list[Rank]:
        return list(range(1, self.full_rank(conv) + 1))


@dataclass(frozen=True)
class _Composed(Form):
    """A layer of `ComposedConv`, which knows the mathematics."""

    kind: type[ComposedConv]

    def layer(self, conv: _ConvNd) -> type[Factored]:
        return self.kind

    def reason(self, conv: _ConvNd) -> str:
        return self.kind.reason(conv)

    def full_rank(self, conv: _ConvNd) -> Rank:
        return self.kind.full_rank(conv)

    def error(
        self, conv: _ConvNd, ranks: Sequence[Rank], moments: Tensor | None = None
    ) -> list[float]:
        return lost_shares(conv, self.kind.products(conv, ranks, moments), moments)

    def _candidates(self, conv: _ConvNd) -> list[Rank]:
        full, taps = self.full_rank(conv), conv.weight[0, 0].numel()
        # From an eighth of the full rank up, evenly on a scale of factors.
        shares = [8 ** (step / (_STEPS - 1) - 1) for step in range(_STEPS)]
        if isinstance(full, int):
            if full <= 2 * _STEPS:
                return list(range(1, full + 1))
            return list({_even(share * full) for share in shares})
        # As few channels as a stem has, or a head, are not worth a convolution to save some.
        few = tuple(channels <= taps for channels in full)
        return list({_pair(full, few, share) for share in shares})


def arithmetic_of(conv: _ConvNd) -> Conv | ConvTranspose:
    """The arithmetic of a torch convolution.

    >>> arithmetic_of(nn.Conv2d(3, 8, 3, padding="same"))
    Conv(3, 8, kernel_size=3, padding=1)
    """
    common: dict[str, Any] = {
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "bias": conv.bias is not None,
        "dims": len(conv.kernel_size),
    }
    if conv.transposed:
        return ConvTranspose(**common, output_padding=conv.output_padding)
    return Conv(**common, padding_mode=conv.padding_mode)


def _large(conv: _ConvNd) -> tuple[int, ...]:
    reach = zip(conv.kernel_size, conv.dilation, conv.stride, strict=True)
    return tuple(1024 * k * d * s for k, d, s in reach)


def _pair(full: tuple[int, int], few: tuple[bool, ...], share: float) -> tuple[int, int]:
    inner, outer = (n if keep else _even(share * n) for n, keep in zip(full, few, strict=True))
    return inner, outer


def _even(rank: float) -> int:
    """A whole rank; one that fills vectors, where that changes little."""
    return max(1, round(rank)) if rank < 32 else 8 * round(rank / 8)


FORMS: tuple[Form, ...] = (
    _DepthwiseFirst("depthwise → pointwise"),
    _Composed("pointwise → depthwise", PointwiseFirstConv),
    _Composed("spatial", SpatiallySeparableConv),
    _Composed("tucker", TuckerConv),
)
