"""A depthwise convolution, then a pointwise one: what every separable layer shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.arithmetic import Conv, ConvTranspose
from convsmith.arithmetic.normalise import count
from convsmith.errors import ArgumentError
from convsmith.nn.approximation import decomposition_errors
from convsmith.nn.factored import Factored, Rank
from convsmith.nn.factorise import separable_factors
from convsmith.nn.plain import plain_conv

__all__ = ["Activation", "Fusion", "Norm", "SeparablePair"]

Norm = Callable[[int], nn.Module]
Activation = Callable[[], nn.Module]
Fusion = Callable[[nn.Module, Tensor], Tensor | None]
"""Computes a layer in other ways; None where it cannot."""


class SeparablePair(Factored):
    """Base of the separable layers: depthwise, pointwise, and what follows either of them.

    A subclass names the two torch layers it is made of, gives its constructor the signature of the
    torch layer it stands for, and has its arguments checked by the arithmetic of that layer.
    """

    dimensions: ClassVar[int]
    _depthwise: ClassVar[type[_ConvNd]]
    _pointwise: ClassVar[type[_ConvNd]]
    # What the depthwise convolution alone decides, in the order torch prints it.
    _geometry: ClassVar[tuple[str, ...]] = ("kernel_size", "stride", "padding", "dilation")

    multiplier: int
    depthwise: _ConvNd
    mid_norm: nn.Module | None
    mid_activation: nn.Module | None
    pointwise: _ConvNd
    norm: nn.Module | None
    activation: nn.Module | None
    _fusion: Fusion | None = None

    def __init__(
        self,
        standard: Conv | ConvTranspose,
        padding: str | tuple[int, ...],
        device: torch.device | str | int | None,
        dtype: torch.dtype | None,
        multiplier: int,
        norm: Norm | None,
        activation: Activation | None,
        mid_norm: Norm | None,
        mid_activation: Activation | None,
    ) -> None:
        super().__init__()
        multiplier = count(f"{type(self).__name__}: multiplier", multiplier)
        depthwise, pointwise = self._convolutions(
            standard, padding, standard.bias, device, dtype, multiplier
        )
        self._assemble(depthwise, pointwise, norm, activation, mid_norm, mid_activation)

    @classmethod
    def stands_for(cls) -> tuple[type[_ConvNd], ...]:
        """Return the torch layer in whose place it can stand."""
        return (cls._depthwise,)

    @classmethod
    def reason(cls, conv: _ConvNd) -> str:
        """Say why a convolution has no such form; '' if it has."""
        if conv.weight[0, 0].numel() == 1:
            return "pointwise already"
        if conv.in_channels == conv.groups:
            return "depthwise already" if conv.groups > 1 else "one channel: nothing to separate"
        return ""

    @classmethod
    def full_rank(cls, conv: _ConvNd) -> int:
        """Return `separable_rank` of its weight: min(out_channels / groups, taps)."""
        return min(conv.out_channels // conv.groups, conv.weight[0, 0].numel())

    @classmethod
    def ranks(cls, conv: _ConvNd) -> list[Rank]:
        """Return every multiplier up to the full rank."""
        return list(range(1, cls.full_rank(conv) + 1))

    @classmethod
    def errors(
        cls, conv: _ConvNd, ranks: Sequence[Any], moments: Tensor | None = None
    ) -> list[float]:
        """Return the share of the response's variance that is lost with each multiplier."""
        every = decomposition_errors(conv, moments)
        return [every[int(rank) - 1] for rank in ranks]

    @classmethod
    def from_conv(
        cls,
        conv: nn.Module,
        multiplier: int = 1,
        *,
        moments: Tensor | None = None,
        norm: Norm | None = None,
        activation: Activation | None = None,
        mid_norm: Norm | None = None,
        mid_activation: Activation | None = None,
    ) -> Self:
        """Return the separable layer closest to a trained convolution.

        The weights are those of `separable_factors`; the bias goes to the pointwise convolution,
        and the depthwise one has none. Device, dtype, train flag and ``requires_grad`` are the
        convolution's, which stays as it is; no random numbers are drawn.

        Args:
            conv: the torch layer that this class stands for, not a subclass of it with a forward
                pass of its own.
            multiplier: depthwise kernels for each input channel. At `separable_rank` of the weight
                the outputs are equal (without norms and activations).
            moments: (in_channels, taps, taps), second moments of each input channel's patches;
                with them the expected output error is minimised. See `separable_factors`.
            norm: ``norm(channels)`` makes the module after the pointwise convolution.
            activation: ``activation()`` makes the module after that.
            mid_norm: like ``norm``, after the depthwise convolution.
            mid_activation: like ``activation``, after the depthwise convolution.

        Raises:
            ArgumentError: another kind of layer, a lazy or meta one without weights, or what
                `separable_factors` refuses.
        """
        plain = plain_conv(conv, f"{cls.__name__}.from_conv", (cls._depthwise,))
        multiplier = count(f"{cls.__name__}.from_conv: multiplier", multiplier)
        depthwise_weight, pointwise_weight = separable_factors(
            plain.weight, plain.groups, multiplier, moments, plain.transposed
        )
        depthwise, pointwise = cls._convolutions(
            plain,
            plain.padding,
            bias=False,
            # Nothing is initialised on this device, so the random state stays as it is.
            device="meta",
            dtype=plain.weight.dtype,
            multiplier=multiplier,
        )
        trained = plain.weight.requires_grad
        for part, weight in ((depthwise, depthwise_weight), (pointwise, pointwise_weight)):
            # A copy: a view of the factors would keep, and save, all of them.
            held = weight.clone(memory_format=torch.contiguous_format)
            part.weight = nn.Parameter(held, requires_grad=trained)
        if plain.bias is not None:
            pointwise.bias = nn.Parameter(
                plain.bias.detach().clone(), requires_grad=plain.bias.requires_grad
            )
        # The constructor would initialise weights only for them to be replaced.
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._assemble(depthwise, pointwise, norm, activation, mid_norm, mid_activation)
        return layer.train(plain.training)

    def forward(self, input: Tensor) -> Tensor:
        """Return (N, out_channels, *size) for (N, in_channels, *size), or both without the N."""
        fused = self._fused(input)
        return self._mix(self.depthwise(input)) if fused is None else fused

    @property
    def last(self) -> _ConvNd:
        """The pointwise convolution."""
        return self.pointwise

    def body(self, input: Tensor) -> Tensor:
        """Return what the pointwise convolution is given."""
        return self._middle(self.depthwise(input))

    @classmethod
    def parts(
        cls,
        conv: _ConvNd,
        rank: Any,
        *,
        bias: bool = False,
        device: torch.device | str | int | None = "meta",
        dtype: torch.dtype | None = None,
    ) -> tuple[_ConvNd, ...]:
        """Return the depthwise and the pointwise convolution of a multiplier."""
        depthwise, pointwise = cls._convolutions(conv, conv.padding, bias, device, dtype, rank)
        depthwise.bias = None
        return depthwise, pointwise

    def extra_repr(self) -> str:
        """Write the arguments as torch does: those that differ from their defaults."""
        text = f"{self.in_channels}, {self.out_channels}"
        text += f", kernel_size={self.kernel_size}, stride={self.stride}"
        for name, ordinary in (
            ("padding", (0,) * self.dimensions),
            ("output_padding", (0,) * self.dimensions),
            ("dilation", (1,) * self.dimensions),
            ("groups", 1),
            ("multiplier", 1),
            ("padding_mode", "zeros"),
        ):
            value = getattr(self, name, ordinary)
            if value != ordinary:
                text += f", {name}={value}"
        return text

    @classmethod
    def _convolutions(
        cls,
        standard: Conv | ConvTranspose | _ConvNd,
        padding: str | tuple[int, ...],
        bias: bool,
        device: torch.device | str | int | None,
        dtype: torch.dtype | None,
        multiplier: int,
    ) -> tuple[_ConvNd, _ConvNd]:
        inputs, middle = standard.in_channels, standard.in_channels * multiplier
        geometry = {name: getattr(standard, name) for name in cls._geometry} | {"padding": padding}
        common: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        spread: Callable[..., _ConvNd] = cls._depthwise
        mix: Callable[..., _ConvNd] = cls._pointwise
        depthwise = spread(inputs, middle, groups=inputs, **geometry, **common)
        return depthwise, mix(middle, standard.out_channels, 1, groups=standard.groups, **common)

    def _assemble(
        self,
        depthwise: _ConvNd,
        pointwise: _ConvNd,
        norm: Norm | None,
        activation: Activation | None,
        mid_norm: Norm | None,
        mid_activation: Activation | None,
    ) -> None:
        for name in self._geometry:
            setattr(self, name, getattr(depthwise, name))
        self.in_channels = depthwise.in_channels
        self.out_channels = pointwise.out_channels
        self.groups = pointwise.groups
        self.multiplier = depthwise.out_channels // depthwise.in_channels
        # In the order of the forward pass, which is the order torch prints and saves them in.
        self.depthwise = depthwise
        self.mid_norm = self._build("mid_norm", mid_norm, depthwise.out_channels)
        self.mid_activation = self._build("mid_activation", mid_activation)
        self.pointwise = pointwise
        self.norm = self._build("norm", norm, pointwise.out_channels)
        self.activation = self._build("activation", activation)

    def _build(self, name: str, factory: Callable[..., object] | None, *channels: int) -> Any:
        """Call a factory of modules; refuse what is not callable or returns something else."""
        if factory is None:
            return None
        call = f"{name}(channels)" if channels else f"{name}()"
        expected = f"{type(self).__name__}: {name} must be a callable, {call} -> nn.Module"
        # A module is callable too, and would only fail in its forward pass.
        if isinstance(factory, nn.Module):
            raise ArgumentError(f"{expected}, not a module: {type(factory).__name__}")
        if not callable(factory):
            raise ArgumentError(f"{expected}, not {factory!r}")
        try:
            module = factory(*channels)
        except TypeError as error:
            raise ArgumentError(f"{expected}; calling it failed: {error}") from error
        if not isinstance(module, nn.Module):
            raise ArgumentError(f"{expected}; it returned {module!r}")
        weight = self.depthwise.weight
        return module.to(device=weight.device, dtype=weight.dtype)

    def _fused(self, input: Tensor) -> Tensor | None:
        """The output in fused kernels, where they were asked for and give the same."""
        fusion = self._fusion
        if fusion is None or self.training or torch.compiler.is_compiling():
            return None
        if type(input) is not Tensor or input.dtype != torch.float32 or not input.is_cpu:
            return None
        if torch.is_grad_enabled() and (
            input.requires_grad or any(p.requires_grad for p in self.parameters())
        ):
            return None
        inner = [module for module in self.modules() if module is not self]
        # A hook on a part wants to see its values.
        if any(m.training or m._forward_hooks or m._forward_pre_hooks for m in inner):
            return None
        return fusion(self, input)

    def _middle(self, maps: Tensor) -> Tensor:
        if self.mid_norm is not None:
            maps = self.mid_norm(maps)
        if self.mid_activation is not None:
            maps = self.mid_activation(maps)
        return maps

    def _mix(self, maps: Tensor) -> Tensor:
        maps = self.pointwise(self._middle(maps))
        if self.norm is not None:
            maps = self.norm(maps)
        if self.activation is not None:
            maps = self.activation(maps)
        return maps
