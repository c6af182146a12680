"""The convolutions of a network: the forms each may take, at what cost, and why others stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd

from convsmith.arithmetic import Conv, ConvTranspose
from convsmith.errors import ArgumentError
from convsmith.network import Layer, Network
from convsmith.nn import Rank
from convsmith.rewrite.lightening.forms import Form, all_forms
from convsmith.rewrite.surgery import has_hooks
from convsmith.text import times

__all__ = ["Candidate", "Choice", "Filter", "candidates", "refuse_empty"]

_PLAIN = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip

Filter = Callable[[nn.Module, str], bool]


class Choice(NamedTuple):
    """A form at a rank."""

    form: Form
    rank: Rank

    def __str__(self) -> str:
        rank = times(self.rank) if isinstance(self.rank, tuple) else self.rank
        return f"{self.form.name}, {rank}"


@dataclass(frozen=True)
class Candidate:
    """One convolution of the network.

    Attributes:
        layer: its layer in the traced network.
        spec: its arithmetic.
        size: the spatial size of its input.
        reason: why it has to stay as it is; '' if it may be rewritten.
        normalised: whether a batch norm is all that reads it, and so absorbs a constant.
        module: the convolution, where it may be rewritten.
    """

    layer: Layer
    spec: Conv | ConvTranspose
    size: tuple[int, ...]
    reason: str
    normalised: bool
    module: _ConvNd | None = None

    @property
    def path(self) -> str:
        """The path of its module."""
        return self.layer.path

    @property
    def conv(self) -> _ConvNd:
        """The convolution."""
        assert self.module is not None
        return self.module

    def choices(self, forms: Sequence[Form]) -> list[Choice]:
        """The forms and ranks that cost fewer multiply-adds than it does."""
        return [Choice(form, rank) for form in forms for rank in form.ranks(self.conv, self.size)]

    def macs(self, choice: Choice | None) -> int:
        """Multiply-adds for one image in this form; None: as it is."""
        if choice is None:
            return self.spec.macs(self.size)
        return choice.form.macs(self.conv, self.size, choice.rank)


def candidates(
    network: Network, model: nn.Module, allow: Filter | None, forms: Sequence[Form] | None = None
) -> list[Candidate]:
    """Every convolution of the network, in order of execution; a module called twice once."""
    forms = all_forms() if forms is None else forms
    by_call: dict[tuple[str, ...], Candidate] = {}
    for layer in network:
        spec = layer.operation.arithmetic
        call = (
            (layer.path, *(p.name for p in layer.parameters)) if layer.parameters else (layer.name,)
        )
        if not isinstance(spec, (Conv, ConvTranspose)) or layer.constant:
            continue
        if call not in by_call:
            size = layer.operands[0].shape[-spec.dims :]
            readers = network.consumers(layer.name)
            normalised = [reader.kind for reader in readers] == ["batch norm"]
            module, reason = _plain(network, model, layer, spec, allow)
            if module is not None:
                reasons = [form.reason(module) for form in forms]
                reason = reasons[0] if all(reasons) else ""
            by_call[call] = Candidate(layer, spec, size, reason, normalised, module)
    return list(by_call.values())


def _plain(
    network: Network,
    model: nn.Module,
    layer: Layer,
    spec: Conv | ConvTranspose,
    allow: Filter | None,
) -> tuple[_ConvNd | None, str]:
    """The module, or why it cannot be replaced."""
    if spec.is_pointwise:
        return None, "pointwise already"
    if spec.is_depthwise:
        return None, "depthwise already"
    module = model.get_submodule(layer.path)
    if not _computes_plainly(module):
        return None, f"called from {type(module).__name__}, not a plain convolution module"
    if has_hooks(module):  # those that change nothing are not seen here
        return None, "a hook on it may change what it computes"
    if any(name in network.shared for name in (p.name for p in layer.parameters)):
        return None, "its weight is shared by several calls"
    if allow is not None and not allow(module, layer.path):
        return None, "left out by filter_fn"
    assert isinstance(module, _ConvNd)
    return module, ""


def _computes_plainly(module: nn.Module) -> bool:
    """Whether a module is a torch convolution, or a subclass that computes the same.

    One with a standardised weight or its own padding does not.
    """
    for plain in _PLAIN:
        if isinstance(module, plain):
            names = ("forward", "_conv_forward")
            return all(
                getattr(type(module), name, None) is getattr(plain, name, None) for name in names
            )
    return False


def refuse_empty(layers: Sequence[Candidate], name: str) -> None:
    """Raise if no convolution can change, saying why of the first few."""
    if not any(not candidate.reason for candidate in layers):
        reasons = "; ".join(f"{c.path}: {c.reason}" for c in layers[:3]) or "there is none"
        raise ArgumentError(f"no convolution of {name} can become lighter ({reasons})")
