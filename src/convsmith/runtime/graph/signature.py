"""What inputs have in common: the signatures and patterns by which graphs are chosen."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves

from convsmith.errors import ArgumentError
from convsmith.text import times

__all__ = ["describe", "pattern", "signature", "without_sizes", "worth_freeing"]


def signature(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What decides which graph serves: the sizes and types of tensors, the values of others."""
    if not kwargs:
        for value in args:
            if not isinstance(value, Tensor):
                break
        else:
            return tuple([(value.shape, value.dtype, value.device) for value in args])
    leaves, spec = tree_flatten((args, kwargs))
    return (
        str(spec),
        *(
            (leaf.shape, leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else _value(leaf)
            for leaf in leaves
        ),
    )


def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Inputs in words: their shapes and types."""
    return ", ".join(
        f"{times(leaf.shape) or 'a number'} {str(leaf.dtype).removeprefix('torch.')}"
        if isinstance(leaf, Tensor)
        else repr(leaf)
        for leaf in tree_leaves((args, kwargs))
    )


def pattern(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A signature without sizes, but for those below 2."""
    leaves, spec = tree_flatten((args, kwargs))
    return (
        str(spec),
        *(
            (tuple(min(n, 2) for n in leaf.shape), leaf.dtype, leaf.device)
            if isinstance(leaf, Tensor)
            else _value(leaf)
            for leaf in leaves
        ),
    )


def worth_freeing(
    inputs: tuple[tuple[Any, ...], dict[str, Any]], example: tuple[tuple[Any, ...], dict[str, Any]]
) -> tuple[tuple[int, ...], ...]:
    """For each leaf of some inputs the axes whose length a graph for further inputs leaves open.

    Only the batch, where nothing else differs from the example: with each further length, PyTorch
    may take minutes to simplify what follows from them. Else all. A length below 2 stays as it is:
    what is made for it differs in what it broadcasts.
    """
    (leaves, spec), (others, known) = tree_flatten(inputs), tree_flatten(example)
    shapes, expected = ([_shape(leaf) for leaf in each] for each in (leaves, others))
    batch = spec == known and [s[1:] for s in shapes] == [s[1:] for s in expected]
    return tuple(
        tuple(axis for axis, n in enumerate(shape) if n > 1 and not (batch and axis))
        for shape in shapes
    )


def without_sizes(pattern: Any) -> Any:
    """A pattern without sizes: only ranks and types count."""
    spec, *leaves = pattern
    return spec, [(len(leaf[0]), *leaf[1:]) if len(leaf) == 3 else leaf for leaf in leaves]


def _shape(leaf: Any) -> tuple[int, ...]:
    return tuple(leaf.shape) if isinstance(leaf, Tensor) else ()


def _value(leaf: Any) -> Any:
    if leaf is not None and not isinstance(leaf, (bool, int, float, str)):
        raise ArgumentError(f"inputs are tensors, numbers, text or None, not {type(leaf).__name__}")
    return (type(leaf), leaf)
