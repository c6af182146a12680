"""What every layer is that stands for one convolution by a chain of cheaper ones."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache, wraps
from inspect import Parameter, signature
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.errors import ArgumentError, nearest
from convsmith.nn.plain import ORDINARY, TRANSPOSED

__all__ = ["Factored", "Rank", "form_names", "former_names", "layer_named", "layers_of"]

Rank = int | tuple[int, int]
"""How many terms the chain has; for two factored axes, of channels in and out."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LAYERS: dict[str, type[Factored]] = {}
_FORMS: dict[str, list[type[Factored]]] = {}
_FORMER: dict[str, str] = {}


class Factored(nn.Module):
    """Base of the layers that take the place of a convolution: a body, then a last convolution.

    The body is linear where the layer was made by `from_conv`; the last convolution carries the
    bias and is the one that least squares can fit.

    A subclass that names its form is registered under that name and under its own: `lighten` may
    then choose it and recipes may contain it. Several classes of one form stand for different
    kinds of convolution.

    Args:
        form: the name by which users ask for it: lower case, digits and underscores.
        formerly: a name that it had before, which is still understood.

    >>> class Halves(Factored, form="halves"): ...
    >>> "halves" in form_names(), layer_named("Halves") is Halves
    (True, True)
    >>> forget(Halves)
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str

    def __init_subclass__(cls, *, form: str = "", formerly: str = "", **options: Any) -> None:
        """Register a class that names its form."""
        super().__init_subclass__(**options)
        if not form:
            return
        cls.__init__ = _checked(cls.__init__, cls.__name__)  # type: ignore[method-assign]
        if not _NAME.fullmatch(form):
            raise ArgumentError(
                f"{cls.__name__}: form={form!r} must be lower case letters, digits and underscores"
            )
        other = _LAYERS.get(cls.__name__)
        if other is not None and (other.__module__, other.__qualname__) != (
            cls.__module__, cls.__qualname__,
        ):  # fmt: skip
            raise ArgumentError(
                f"{cls.__name__}: {other.__module__} has registered a layer of this name already"
            )
        if other is not None:
            forget(other)  # the module was run again
        _LAYERS[cls.__name__] = cls
        _FORMS.setdefault(form, []).append(cls)
        if formerly:
            _FORMER[formerly] = form

    __jit_unused_properties__: ClassVar[list[str]] = ["last", "weight", "bias"]

    @property
    def weight(self) -> Tensor:
        """The weight of the last convolution, for code that asks a layer for its type or device."""
        weight: Tensor = self.last.weight
        return weight

    @property
    def bias(self) -> Tensor | None:
        """The bias of the last convolution."""
        return self.last.bias

    @property
    def last(self) -> _ConvNd:
        """The last convolution."""
        raise NotImplementedError

    def body(self, input: Tensor) -> Tensor:
        """Return what the last convolution is given."""
        raise NotImplementedError

    @classmethod
    def stands_for(cls) -> tuple[type[_ConvNd], ...]:
        """Return the torch layers in whose place it can stand."""
        return ORDINARY + TRANSPOSED

    @classmethod
    def reason(cls, conv: _ConvNd) -> str:
        """Say why a convolution has no such form; '' if it has."""
        raise NotImplementedError

    @classmethod
    def full_rank(cls, conv: _ConvNd) -> Rank:
        """Return the least rank at which the layer computes the same, whatever the weights."""
        raise NotImplementedError

    @classmethod
    def ranks(cls, conv: _ConvNd) -> list[Rank]:
        """Return the ranks that are worth trying, in any order, whatever they cost."""
        raise NotImplementedError

    @classmethod
    def errors(
        cls, conv: _ConvNd, ranks: Sequence[Any], moments: Tensor | None = None
    ) -> list[float]:
        """Return the share of the response's variance that is lost at each rank.

        Args:
            conv: what the layer stands for.
            ranks: up to `full_rank`.
            moments: (in_channels, taps, taps), the covariance of each input channel's patches;
                None for white ones. Channels are taken as uncorrelated.
        """
        raise NotImplementedError

    @classmethod
    def from_conv(cls, conv: nn.Module, rank: Any, /, *, moments: Tensor | None = None) -> Self:
        """Return the layer of this rank that is closest to a trained convolution."""
        raise NotImplementedError

    @classmethod
    def unfitted(cls, conv: _ConvNd, rank: Any) -> Self:
        """Return a layer of this rank with any weights: for its time, which they do not change.

        A form whose weights take long to find gives it without them.
        """
        return cls.from_conv(conv, rank)

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
        """Return the convolutions, in order, that stand for `conv` at a rank: shapes alone."""
        raise NotImplementedError

    def __prepare_scriptable__(self) -> nn.Module:
        """Return the parts alone, in order: what `torch.jit.script` compiles in its place."""
        kind: Any = type(self)
        return _parts_of(kind)(OrderedDict(self.named_children()))

    def reset_parameters(self) -> None:
        """Initialise again every part that can be."""
        for child in self.children():
            reset = getattr(child, "reset_parameters", None)
            if callable(reset):
                reset()


def _checked(init: Callable[..., None], name: str) -> Callable[..., None]:
    """A constructor that refuses a keyword it does not know in the name of the public class."""

    @wraps(init)
    def checked(self: Any, *args: Any, **options: Any) -> None:
        parameters = signature(init).parameters
        others = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
        for keyword in () if others else options:
            if keyword not in parameters:
                hint = nearest(keyword, [each for each in parameters if each != "self"])
                raise TypeError(f"{name}() got an unexpected keyword argument {keyword!r}{hint}")
        init(self, *args, **options)

    return checked


@cache
def _parts_of(kind: Any) -> type[nn.Sequential]:
    """A class of its own: TorchScript takes the same parts in another order for the same."""
    return type(f"{kind.__name__}Parts", (nn.Sequential,), {})


def form_names() -> tuple[str, ...]:
    """The names of all forms, in alphabetical order."""
    return tuple(sorted(_FORMS))


def former_names() -> dict[str, str]:
    """Names that forms had before, each with the name of today."""
    return dict(_FORMER)


def layers_of(form: str) -> tuple[type[Factored], ...]:
    """The classes of a form, one for each kind of convolution."""
    return tuple(_FORMS[form])


def layer_named(name: str) -> type[Factored] | None:
    """The registered layer of this class name, or None."""
    return _LAYERS.get(name)


def forget(layer: type[Factored]) -> None:
    """Take a layer, and a form that has no other, out of the register."""
    _LAYERS.pop(layer.__name__, None)
    for form, layers in list(_FORMS.items()):
        if layer in layers:
            layers.remove(layer)
        if not layers:
            del _FORMS[form]
            for former in [old for old, new in _FORMER.items() if new == form]:
                del _FORMER[former]
