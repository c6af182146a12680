"""Examples: what a model is called with, from tensors, shapes, and lists and dicts of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from convsmith.errors import ArgumentError, nearest
from convsmith.machine import memory
from convsmith.text import times

__all__ = ["aliased", "example_inputs"]


def example_inputs(model: nn.Module, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn an example into arguments for `model`.

    A tensor made from a shape holds zeros. It is on the device of the model's first floating tensor
    and has the type of that, unless the example names one: `((1, 16), torch.int64)`, or
    `((1, 16), "int64")`.

    Args:
        model: what will be called.
        example: a tensor or a shape, for one input; a tuple or list of these, for several; or a
            dict of them by name. An input may itself be a list, tuple or dict of tensors and
            shapes: `[[(3, 60, 80), (3, 50, 90)]]` is one input that is a list of two images.
            Anything else (None, numbers, strings) is passed as it is.

    Raises:
        ArgumentError: for an example that is none of these, a length below zero, or a type that
            PyTorch has not got.

    >>> args, kwargs = example_inputs(nn.ReLU(), {"ids": ((1, 4), "int64"), "maps": [(3, 6, 8)]})
    >>> kwargs["ids"].dtype, kwargs["maps"][0].shape
    (torch.int64, torch.Size([3, 6, 8]))
    """
    like = next(
        (t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()),
        torch.empty(0),
    )
    if isinstance(example, Mapping):
        for name in example:
            if not isinstance(name, str):
                raise ArgumentError(f"inputs by name have names, not {name!r}")
        return (), {name: _value(item, like) for name, item in example.items()}
    if isinstance(example, Tensor) or _is_shape(example) or _is_typed(example):
        return (_value(example, like),), {}
    if isinstance(example, Sequence) and example and not isinstance(example, str):
        return tuple(_value(item, like) for item in example), {}
    raise ArgumentError(
        f"an example is a tensor, a shape, or several of them, not {type(example).__name__}"
    )


def aliased(inputs: Any) -> Any:
    """The same inputs with tensors of their own, which share the memory.

    Which sizes are free is marked on tensors, by `torch._dynamo.mark_dynamic` and by
    `torch.export`, which leaves its marks where a capture fails. The caller's marks are not for
    captures of ours, nor ours for theirs. One that is passed twice becomes two: `torch.export`
    takes them for one input, and later calls, with two, would be given values of the second alone.
    """
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, inputs)


def _value(value: Any, like: Tensor) -> Any:
    """One input: shapes in it are replaced by tensors."""
    if _is_typed(value):
        shape, dtype = value
        return _zeros(shape, like, _dtype(dtype))
    if _is_shape(value):
        return _zeros(value, like, like.dtype)
    if isinstance(value, dict):
        return {key: _value(item, like) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_value(item, like) for item in value)
    return value


def _zeros(shape: Sequence[Any], like: Tensor, dtype: torch.dtype) -> Tensor:
    if any(length is None or length < 0 for length in shape):
        raise ArgumentError(f"a shape has no negative lengths and none left free: {tuple(shape)}")
    needed = math.prod(shape) * dtype.itemsize
    if max(shape, default=0) >= 1 << 31 or needed > memory():
        raise ArgumentError(
            f"an input of {times(shape)} takes {needed / 1e9:,.0f} GB, this machine has "
            f"{memory() / 1e9:,.0f} GB of memory"
        )
    return torch.zeros(*shape, device=like.device, dtype=dtype)


def _dtype(value: Any) -> torch.dtype:
    """A type of values, or its name."""
    if isinstance(value, torch.dtype):
        return value
    dtype = getattr(torch, value, None)
    if isinstance(dtype, torch.dtype):
        return dtype
    known = [name for name in dir(torch) if isinstance(getattr(torch, name), torch.dtype)]
    raise ArgumentError(
        f"{value!r} is not a type of values{nearest(value, known) or ', such as int64'}"
    )


def _is_typed(value: Any) -> bool:
    """Whether it is a shape and a type."""
    return (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and _is_shape(value[0])
        and isinstance(value[1], (str, torch.dtype))
    )


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list, torch.Size))
        and len(value) > 0
        and all(
            length is None or (isinstance(length, int) and not isinstance(length, bool))
            for length in value
        )
        and any(length is not None for length in value)  # inputs that are None are inputs
    )
