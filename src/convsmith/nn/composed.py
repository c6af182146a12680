"""Layers made of two or three plain convolutions, in any dimension, transposed ones too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.arithmetic import Conv, ConvTranspose
from convsmith.arithmetic.normalise import per_axis
from convsmith.errors import ArgumentError
from convsmith.nn.approximation import lost_shares
from convsmith.nn.factored import Factored, Rank
from convsmith.nn.plain import ORDINARY, TRANSPOSED, naming, plain_conv
from convsmith.nn.product import chain_product
from convsmith.nn.ranks import ladder

__all__ = ["ComposedConv", "grouped", "is_single", "part", "ungrouped"]


class ComposedConv(Factored):
    """Base of the layers that are a chain of plain convolutions and nothing else.

    A subclass names its convolutions, says which shapes they have at a rank, and how their weights
    follow from a trained one. Each axis has its window in one of them, and the others have one tap
    there. The bias is the last one's.
    """

    _names: ClassVar[tuple[str, ...]]

    rank: Rank
    transposed: bool
    output_padding: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        rank: Rank,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        output_padding: int | tuple[int, ...] = 0,
        transposed: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dims = len(kernel_size) if isinstance(kernel_size, tuple) else 2
        with naming(self):
            # Arithmetic also knows (low, high) pairs, which torch does not.
            if transposed or not isinstance(padding, str):
                padding = per_axis("padding", padding, dims, minimum=0)  # type: ignore[arg-type]
            geometry: dict[str, Any] = {
                "kernel_size": kernel_size,
                "stride": stride,
                "padding": padding,
                "dilation": dilation,
                "groups": groups,
                "bias": bias,
            }
            if transposed and padding_mode != "zeros":
                raise ArgumentError(
                    f"padding_mode must be 'zeros' for a transposed one, not {padding_mode!r}"
                )
            geometry |= (
                {"output_padding": output_padding} if transposed else {"padding_mode": padding_mode}
            )
            check = ConvTranspose if transposed else Conv
            check(in_channels, out_channels, dims=dims, **geometry)
        plain = _kind(transposed, dims)(in_channels, out_channels, device="meta", **geometry)
        self._assemble(plain, self._admit(plain, rank), bias, device, dtype)

    @classmethod
    def from_conv(cls, conv: nn.Module, rank: Any = None, *, moments: Tensor | None = None) -> Self:
        """Return the layer of this rank that is closest to a trained convolution.

        Device, dtype, train flag and ``requires_grad`` are the convolution's, which stays as it
        is; no random numbers are drawn.

        Args:
            conv: a torch convolution, not a subclass of it with a forward pass of its own.
            rank: up to `full_rank`, where the outputs are equal; None for that one.
            moments: (in_channels, taps, taps), second moments of each input channel's patches, as
                `separable_factors` takes them; with them errors count by what the output shows.

        Raises:
            ArgumentError: another kind of layer, one without weights, a convolution that has no
                such form (with the reason), or a rank out of range.
        """
        plain = plain_conv(conv, f"{cls.__name__}.from_conv", ORDINARY + TRANSPOSED)
        rank = cls._admit(plain, cls.full_rank(plain) if rank is None else rank)
        return cls._holding(plain, rank, cls.factors(plain, rank, moments))

    @classmethod
    def unfitted(cls, conv: _ConvNd, rank: Any) -> Self:
        """Return a layer of this rank whose parts average: for its time."""
        rank = cls._admit(conv, rank)
        held = [part.weight for part in cls.parts(conv, rank)]
        weights = [torch.full(w.shape, 1 / w[0].numel(), device=conv.weight.device) for w in held]
        return cls._holding(conv, rank, weights)

    @classmethod
    def _holding(cls, plain: _ConvNd, rank: Rank, weights: Sequence[Tensor]) -> Self:
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        # Nothing is initialised on this device, so the random state stays as it is.
        layer._assemble(plain, rank, plain.bias is not None, "meta", plain.weight.dtype)
        trained = plain.weight.requires_grad
        for name, weight in zip(cls._names, weights, strict=True):
            # A copy: a view of the factors would keep, and save, all of them.
            held = weight.to(plain.weight).clone(memory_format=torch.contiguous_format)
            getattr(layer, name).weight = nn.Parameter(held, requires_grad=trained)
        if plain.bias is not None:
            layer.last.bias = nn.Parameter(
                plain.bias.detach().clone(), requires_grad=plain.bias.requires_grad
            )
        return layer.train(plain.training)

    @classmethod
    def ranks(cls, conv: _ConvNd) -> list[Rank]:
        """Return a handful of ranks, evenly on a scale of factors."""
        return ladder(cls.full_rank(conv), conv.weight[0, 0].numel())

    @classmethod
    def errors(
        cls, conv: _ConvNd, ranks: Sequence[Any], moments: Tensor | None = None
    ) -> list[float]:
        """Return the share of the response's variance that is lost at each rank."""
        return lost_shares(conv, cls.products(conv, ranks, moments), moments)

    @classmethod
    def factors(cls, conv: _ConvNd, rank: Any, moments: Tensor | None) -> tuple[Tensor, ...]:
        """Return the weights of the parts, in float64 on the processor."""
        raise NotImplementedError

    @classmethod
    def products(cls, conv: _ConvNd, ranks: Sequence[Any], moments: Tensor | None) -> list[Tensor]:
        """Return the weight each rank amounts to, as `grouped` lays it out, in float64.

        A form that finds all ranks at once says them itself, to be quicker.
        """
        weights = []
        for rank in ranks:
            made = zip(cls.parts(conv, rank), cls.factors(conv, rank, moments), strict=True)
            factors = [_by_groups(w.double(), p.groups, p.transposed) for p, w in made]
            weights.append(chain_product(conv.groups, conv.in_channels // conv.groups, factors))
        return weights

    @property
    def last(self) -> _ConvNd:
        """The last convolution, which carries the bias."""
        last: _ConvNd = getattr(self, self._names[-1])
        return last

    def body(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return what the last convolution is given."""
        for name in self._names[:-1]:
            input = _called(getattr(self, name), input, output_size)
        return input

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return (N, out_channels, *size) for (N, in_channels, *size), or both without the N.

        Args:
            input: the maps.
            output_size: the spatial size that a transposed convolution is to return.
        """
        return _called(self.last, self.body(input, output_size), output_size)

    def extra_repr(self) -> str:
        """Write the arguments as torch does: those that differ from their defaults."""
        dims = len(self.kernel_size)
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", rank={self.rank}, stride={self.stride}"
        for name, ordinary in (
            ("padding", (0,) * dims),
            ("output_padding", (0,) * dims),
            ("dilation", (1,) * dims),
            ("groups", 1),
            ("padding_mode", "zeros"),
            ("transposed", False),
        ):
            if getattr(self, name) != ordinary:
                text += f", {name}={getattr(self, name)}"
        return text

    @classmethod
    def _admit(cls, conv: _ConvNd, rank: Any) -> Rank:
        """Return the rank if this form can take the convolution at it."""
        if reason := cls.reason(conv):
            raise ArgumentError(f"{cls.__name__}: {reason}")
        full = cls.full_rank(conv)
        pairs = (rank, full) if isinstance(full, tuple) else ((rank,), (full,))
        asked, most = (tuple(x) if isinstance(x, (tuple, list)) else (x,) for x in pairs)
        whole = all(isinstance(r, int) and not isinstance(r, bool) for r in asked)
        if (
            len(asked) != len(most)
            or not whole
            or any(not 1 <= r <= top for r, top in zip(asked, most, strict=True))
        ):
            raise ArgumentError(f"{cls.__name__}: rank must be from 1 to {full}, not {rank!r}")
        return tuple(asked) if isinstance(full, tuple) else asked[0]

    def _assemble(
        self,
        plain: _ConvNd,
        rank: Rank,
        bias: bool,
        device: torch.device | str | int | None,
        dtype: torch.dtype | None,
    ) -> None:
        for name in (
            "in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding",
            "dilation", "groups", "padding_mode", "transposed",
        ):  # fmt: skip
            setattr(self, name, getattr(plain, name))
        self.rank = rank
        convs = self.parts(plain, rank, bias=bias, device=device, dtype=dtype)
        for name, conv in zip(self._names, convs, strict=True):
            setattr(self, name, conv)


def part(
    like: _ConvNd,
    inputs: int,
    outputs: int,
    axes: Collection[int],
    *,
    groups: int,
    bias: bool = False,
    device: torch.device | str | int | None,
    dtype: torch.dtype | None,
) -> _ConvNd:
    """Return a convolution with the windows of `like` on these axes, and one tap on the others."""
    common: dict[str, Any] = {"groups": groups, "bias": bias, "device": device, "dtype": dtype}
    dims = len(like.kernel_size)
    if not axes:
        return _kind(False, dims)(inputs, outputs, 1, **common)

    def only(values: Sequence[int], ordinary: int) -> tuple[int, ...]:
        return tuple(v if axis in axes else ordinary for axis, v in enumerate(values))

    padding = like.padding if isinstance(like.padding, str) else only(like.padding, 0)
    common |= {
        "kernel_size": only(like.kernel_size, 1),
        "stride": only(like.stride, 1),
        "padding": padding,
        "dilation": only(like.dilation, 1),
    }
    if like.transposed:
        common["output_padding"] = only(like.output_padding, 0)
    else:
        common["padding_mode"] = like.padding_mode
    return _kind(like.transposed, dims)(inputs, outputs, **common)


def _kind(transposed: bool, dims: int) -> Callable[..., _ConvNd]:
    return (TRANSPOSED if transposed else ORDINARY)[dims - 1]


def is_single(conv: _ConvNd) -> bool:
    """Whether a group has one channel in or out: there is then nothing to mix on that side."""
    return conv.groups in (conv.in_channels, conv.out_channels)


def grouped(conv: _ConvNd) -> Tensor:
    """The weight as (groups, out/groups, in/groups, *kernel), in float64 on the processor."""
    name = type(conv).__name__
    if conv.weight.is_meta:
        raise ArgumentError(f"{name}: its weight is on device 'meta' and has no values")
    weight = conv.weight.detach().cpu().double()
    if not bool(torch.isfinite(weight).all()):
        raise ArgumentError(f"{name}: its weight holds NaN or infinity")
    return _by_groups(weight, conv.groups, conv.transposed)


def _by_groups(weight: Tensor, groups: int, transposed: bool) -> Tensor:
    weight = weight.reshape(groups, -1, *weight.shape[1:])
    return weight.transpose(1, 2) if transposed else weight


def ungrouped(weight: Tensor, transposed: bool) -> Tensor:
    """Undo `grouped`: the layout in which torch keeps such a weight."""
    return (weight.transpose(1, 2) if transposed else weight).flatten(0, 1).contiguous()


def _called(conv: _ConvNd, maps: Tensor, output_size: Sequence[int] | None) -> Tensor:
    """Run a part, telling a transposed one the output size on the axes that it changes."""
    if output_size is None or not conv.transposed:
        return conv(maps)  # type: ignore[no-any-return]
    dims = len(conv.kernel_size)
    windows = zip(conv.kernel_size, conv.stride, conv.padding, strict=True)
    idle = [window == (1, 1, 0) for window in windows]
    sizes = zip(idle, maps.shape[-dims:], output_size[-dims:], strict=True)
    result: Tensor = conv(maps, [old if rests else new for rests, old, new in sizes])
    return result
