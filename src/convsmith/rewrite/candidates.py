"""The convolutions of a network: which can become separable, at what cost, and why others stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from convsmith.arithmetic import Conv
from convsmith.errors import ArgumentError
from convsmith.measure import latency
from convsmith.network import Layer, Network
from convsmith.nn import (
    DepthwiseSeparableConv1d,
    DepthwiseSeparableConv2d,
    DepthwiseSeparableConv3d,
)

__all__ = ["FORMS", "Candidate", "candidates", "form_of", "layer_times"]

FORMS: dict[type[nn.Module], type[Any]] = {
    nn.Conv1d: DepthwiseSeparableConv1d,
    nn.Conv2d: DepthwiseSeparableConv2d,
    nn.Conv3d: DepthwiseSeparableConv3d,
}
Filter = Callable[[nn.Module, str], bool]


@dataclass(frozen=True)
class Candidate:
    """One convolution of the network.

    Attributes:
        layer: its layer in the traced network.
        spec: its arithmetic.
        size: the spatial size of its input.
        reason: why it has to stay as it is; '' if it may be rewritten.
        normalised: whether a batch norm is all that reads it, and so absorbs a constant.
    """

    layer: Layer
    spec: Conv
    size: tuple[int, ...]
    reason: str
    normalised: bool

    @property
    def path(self) -> str:
        """The path of its module."""
        return self.layer.path

    @property
    def multipliers(self) -> range:
        """The numbers of depthwise kernels a channel that cost fewer multiply-adds than it does."""
        macs = self.spec.macs(self.size)
        most = min(self.spec.out_channels // self.spec.groups, self.spec.taps)
        return range(1, next((t for t in range(1, most + 1) if self.macs(t) >= macs), most + 1))

    def macs(self, multiplier: int) -> int:
        """Multiply-adds for one image with so many depthwise kernels a channel; 0: as it is."""
        layer = self.spec.separable(multiplier) if multiplier else self.spec
        return layer.macs(self.size)


def candidates(network: Network, model: nn.Module, allow: Filter | None) -> list[Candidate]:
    """Every convolution of the network, in order of execution; a module called twice once."""
    found: dict[tuple[str, ...], Candidate] = {}
    for layer in network:
        spec = layer.operation.arithmetic
        call = (
            (layer.path, *(p.name for p in layer.parameters)) if layer.parameters else (layer.name,)
        )
        if isinstance(spec, Conv) and not layer.constant and call not in found:
            size = layer.operands[0].shape[-spec.dims :]
            readers = network.consumers(layer.name)
            normalised = [reader.kind for reader in readers] == ["batch norm"]
            reason = _reason(network, model, layer, spec, allow)
            found[call] = Candidate(layer, spec, size, reason, normalised)
    return list(found.values())


def form_of(module: nn.Module) -> type[Any] | None:
    """The separable layer that can stand for a module; None unless it is a plain convolution.

    A subclass that computes something else (a standardised weight, padding of its own) has none.
    """
    for plain, form in FORMS.items():
        if isinstance(module, plain):
            same = all(
                getattr(type(module), name) is getattr(plain, name)
                for name in ("forward", "_conv_forward")
            )
            return form if same else None
    return None


def _reason(
    network: Network, model: nn.Module, layer: Layer, spec: Conv, allow: Filter | None
) -> str:
    """Why a convolution stays as it is, or ''."""
    if spec.is_pointwise:
        return "pointwise already"
    if spec.is_depthwise:
        return "depthwise already"
    if spec.in_channels == spec.groups:
        return "one channel: nothing to separate"
    module = model.get_submodule(layer.path)
    if form_of(module) is None:
        return f"called from {type(module).__name__}, not a plain convolution module"
    if any(name in network.shared for name in (p.name for p in layer.parameters)):
        return "its weight is shared by several calls"
    if allow is not None and not allow(module, layer.path):
        return "left out by filter_fn"
    return ""


def layer_times(found: Sequence[Candidate], batch: int = 1) -> dict[tuple[str, int], float]:
    """Milliseconds of each form of each candidate, by path and multiplier (0: as it is).

    Layers of one shape are timed once. The weights are random: they do not change the time.
    """
    times: dict[object, float] = {}
    table: dict[tuple[str, int], float] = {}
    for candidate in found:
        key = (candidate.spec, candidate.size)
        if (key, 0) not in times:
            calls = {}
            for multiplier in (0, *candidate.multipliers):
                module = _module(candidate.spec, multiplier)
                image = torch.zeros(batch, candidate.spec.in_channels, *candidate.size)
                calls[str(multiplier)] = lambda module=module, image=image: module(image)
            with torch.no_grad():
                measured = latency(calls, seconds=0.02 * len(calls), minimum=7)
            times |= {(key, int(name)): value.median_ms for name, value in measured.items()}
        for multiplier in (0, *candidate.multipliers):
            table[candidate.path, multiplier] = times[key, multiplier]
    return table


def _module(spec: Conv, multiplier: int) -> nn.Module:
    plain = tuple(FORMS)[spec.dims - 1]
    uneven = any(low != high for low, high in spec.padding)
    arguments: dict[str, Any] = {
        "in_channels": spec.in_channels,
        "out_channels": spec.out_channels,
        "kernel_size": spec.kernel_size,
        "stride": spec.stride,
        "padding": "same" if uneven else tuple(low for low, _ in spec.padding),
        "dilation": spec.dilation,
        "groups": spec.groups,
        "bias": spec.bias,
    }
    if not multiplier:
        return plain(**arguments).eval()
    separable: nn.Module = FORMS[plain](**arguments, multiplier=multiplier)
    return separable.eval()


def refuse_empty(found: list[Candidate], name: str) -> None:
    """Raise if no convolution can change, saying why of the first few."""
    if not any(not candidate.reason for candidate in found):
        reasons = "; ".join(f"{c.path}: {c.reason}" for c in found[:3]) or "there is none"
        raise ArgumentError(f"no convolution of {name} can become separable ({reasons})")
