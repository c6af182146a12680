"""The one convolution that a chain of convolutions amounts to."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

__all__ = ["body_product", "chain_product"]


def chain_product(groups: int, inputs: int, factors: Sequence[Tensor]) -> Tensor:
    """The weight of the convolution that a chain stands for; linear in each factor.

    Each axis has its window in one part of the chain, and the others have one tap there, so the
    kernels of two parts multiply and need not be convolved.

    Args:
        groups: groups of the convolution that the chain stands for.
        inputs: input channels of each of these groups.
        factors: the weights of the parts in order, each (its groups, outputs of a group, inputs of
            a group, *kernel); the groups of each are a multiple of `groups`.

    Returns:
        (groups, outputs of a group, inputs, *kernel).

    >>> mix, columns, rows = (
    ...     torch.ones(1, 5, 4, 1, 1),
    ...     torch.ones(5, 1, 1, 3, 1),
    ...     torch.ones(1, 2, 5, 1, 7),
    ... )
    >>> chain_product(1, 4, [mix, columns, rows]).shape
    torch.Size([1, 2, 4, 3, 7])
    """
    like = factors[0]
    maps = torch.eye(inputs, dtype=like.dtype).reshape(1, inputs, inputs, *(1,) * (like.ndim - 3))
    maps = maps.expand(groups, *maps.shape[1:])
    for factor in factors:
        maps = _applied(factor, maps)
    return maps


def body_product(groups: int, inputs: int, factors: Sequence[Tensor]) -> Tensor:
    """What each weight of the last part multiplies: (last groups, features, inputs · taps).

    Features are the last part's inputs of a group times its taps. With the body held, the weight
    of the whole chain is linear in the last part: ``last.flatten(2) @ body_product(...)`` for each
    of its groups.
    """
    last = factors[-1]
    features = prod(last.shape[2:])
    each = torch.eye(features, dtype=last.dtype).reshape(1, features, *last.shape[2:])
    each = each.expand(len(last), *each.shape[1:])
    whole = chain_product(groups, inputs, [*factors[:-1], each])
    return whole.reshape(len(last), features, -1)


def _applied(factor: Tensor, maps: Tensor) -> Tensor:
    """One part more: its weight (groups, outputs, inputs, *kernel) after (groups, outputs, …)."""
    groups, _, inputs, *kernel = maps.shape
    parts, outputs, channels, *taps = factor.shape
    dims = len(taps)
    left = factor.reshape(groups, parts // groups, outputs, channels, -1)
    right = maps.reshape(groups, parts // groups, channels, inputs, -1)
    both = torch.einsum("gpoct,gpcik->gpoitk", left, right)
    # One of the two has a single tap on each axis.
    both = both.reshape(groups, -1, inputs, *taps, *kernel)
    pairs = [axis for pair in zip(range(dims), range(dims, 2 * dims), strict=True) for axis in pair]
    both = both.permute(0, 1, 2, *(3 + axis for axis in pairs))
    return both.reshape(*both.shape[:3], *(t * k for t, k in zip(taps, kernel, strict=True)))
