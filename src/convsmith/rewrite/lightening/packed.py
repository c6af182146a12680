"""Networks of several inputs, which take them as the channels of one while they become lighter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from types import new_class
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.errors import ArgumentError
from convsmith.measure import image_batches
from convsmith.network.shadow import shadow

__all__ = ["input_names", "one_input", "packed_names", "unpacked"]


def input_names(model: nn.Module) -> tuple[str, ...]:
    """The inputs that a network cannot do without; none if its code does not say.

    >>> input_names(nn.Conv2d(1, 1, 1)), input_names(nn.Bilinear(1, 1, 1))
    (('input',), ('input1', 'input2'))
    """
    try:
        parameters = signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    )


def one_input(model: nn.Module, images: Any) -> tuple[nn.Module, list[Tensor]]:
    """A network that takes one input, and batches of images for it.

    That is the model itself, or, where it needs several inputs, a second set of its modules on the
    same tensors, which takes them side by side as the channels of one. It can be called in both
    ways, so that the user's own functions can go on calling it with all of them.

    Args:
        model: the user's.
        images: as for `image_batches`; for several inputs a tuple with a tensor for each, or a
            dict by their names, or batches of these, also with labels.

    Raises:
        ArgumentError: for inputs that do not fit side by side, or that are missing.
    """
    names = input_names(model)
    if len(names) < 2:
        return model, image_batches(images)
    widths: set[tuple[int, ...]] = set()

    def pack(batch: Any) -> Tensor:
        inputs = [torch.as_tensor(x) for x in _inputs(batch, names, type(model).__name__)]
        widths.add(tuple(x.shape[1] if x.ndim > 2 else 0 for x in inputs))
        if 0 in max(widths) or len({(len(x), *x.shape[2:], x.dtype) for x in inputs}) > 1:
            found = ", ".join(f"{tuple(x.shape)} of {x.dtype}" for x in inputs)
            raise ArgumentError(
                f"{type(model).__name__} takes {', '.join(names)}: they must be images of one size "
                f"and type, as many of each, not {found}"
            )
        return torch.cat(inputs, 1)

    whole = isinstance(images, Mapping) or _are_tensors(images)
    if not whole and not isinstance(images, Iterable):
        raise ArgumentError(_expected(type(model).__name__, names, type(images).__name__))
    batches = image_batches(pack(images) if whole else map(pack, images))
    if len(widths) > 1:
        raise ArgumentError(f"inputs must have one number of channels each, not {sorted(widths)}")
    return _packed(shadow(model), names, widths.pop()), batches


def packed_names(model: nn.Module) -> tuple[str, ...]:
    """The inputs of a network that takes them as the channels of one; () for any other."""
    return getattr(type(model), "packed_names", ())


def unpacked(model: nn.Module) -> nn.Module:
    """The same module with its own class again, which takes its inputs one by one."""
    if packed_names(model):
        model.__class__ = type(model).__bases__[0]
    return model


def _packed(model: nn.Module, names: tuple[str, ...], widths: Sequence[int]) -> nn.Module:
    """Let a model take its inputs as the channels of one, too.

    Its class changes and not what it is wrapped in, so that its modules keep their paths.
    """
    kind = type(model)

    def forward(self: nn.Module, *inputs: Any, **named: Any) -> Any:
        first = inputs[0] if len(inputs) == 1 and not named else None
        if isinstance(first, Tensor):
            inputs = torch.split(first, list(widths), 1)
        elif isinstance(first, (tuple, list)):
            inputs = tuple(first)
        elif isinstance(first, Mapping):
            inputs, named = (), dict(first)
        return kind.forward(self, *inputs, **named)

    body = {"forward": forward, "packed_names": names, "__module__": kind.__module__}
    model.__class__ = new_class(kind.__name__, (kind,), {}, lambda space: space.update(body))
    return model


def _inputs(batch: Any, names: Sequence[str], kind: str) -> Sequence[Any]:
    """The inputs of one batch, which may have labels as well."""
    if isinstance(batch, Mapping):
        missing = [name for name in names if name not in batch]
        if missing:
            keys = ", ".join(map(repr, batch))
            raise ArgumentError(f"{kind} needs {', '.join(missing)}, but a batch has {keys}")
        return [batch[name] for name in names]
    if isinstance(batch, (tuple, list)) and batch:
        if isinstance(batch[0], (tuple, list, Mapping)):
            return _inputs(batch[0], names, kind)
        if len(batch) >= len(names):
            return batch[: len(names)]
    raise ArgumentError(_expected(kind, names, type(batch).__name__))


def _are_tensors(images: Any) -> bool:
    found = isinstance(images, (tuple, list)) and {hasattr(x, "__array__") for x in images}
    return found == {True}


def _expected(kind: str, names: Sequence[str], found: str) -> str:
    return (
        f"{kind} takes {len(names)} inputs ({', '.join(names)}): pass a tuple with images for "
        f"each, a dict by their names, or batches of these, not {found}"
    )
