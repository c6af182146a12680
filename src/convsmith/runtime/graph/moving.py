"""What torch does around regions by moving values alone, without its threads.

Those of OpenMP go on spinning for some milliseconds after each operation that they share, and take
a processor from the threads of the kernels that come next. A detector whose maps torch joined at
its end gained nothing from a second thread (YOLOv8n at 224², Zen 4: 11.7 ms with one and with two).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.fx import Graph

__all__ = ["by_itself", "move_by_itself", "moves"]

_SHARED = 32_768
"""Values from which torch shares an operation among its threads."""

_MOST = 1 << 20
"""Values that one thread moves in less time than the others would go on spinning."""


def by_itself(operator: Any) -> Any:
    """What does the same in the calling thread alone; the operator itself if there is no such."""
    return _MOVING.get(operator, operator)


def moves(graph: Graph) -> bool:
    """Whether a graph calls any of them."""
    return any(node.target in _MOVING for node in graph.nodes)


def move_by_itself(graph: Graph) -> None:
    """Let a graph's calls do so."""
    for node in graph.nodes:
        node.target = by_itself(node.target)


def _joined(tensors: list[Tensor], dim: int = 0) -> Tensor:
    """`torch.cat`."""
    # Alike but along the axis; of others torch tells what is wrong, or leaves an empty one out.
    forms = {(one.dtype, *one.shape[:dim], *one.shape[dim:][1:]) for one in tensors}
    in_order = all(_plain(one) and one.is_contiguous() for one in tensors)
    if len(forms) > 1 or not in_order or not _worth(sum(one.numel() for one in tensors)):
        return torch.cat(tensors, dim)
    size = list(tensors[0].shape)
    size[dim] = sum(one.shape[dim] for one in tensors)
    result = tensors[0].new_empty(size)
    np.concatenate([one.numpy() for one in tensors], dim, out=result.numpy())
    return result


def _reshaped(x: Tensor, shape: Sequence[int]) -> Tensor:
    """`torch.reshape`."""
    return torch.reshape(_in_order(x, shape), shape)


def _flattened(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """`torch.flatten`."""
    start, end = (axis % x.dim() if x.dim() else 0 for axis in (start_dim, end_dim))
    return torch.flatten(_in_order(x, (*x.shape[:start], -1, *x.shape[end + 1 :])), start, end)


def _in_order(x: Tensor, shape: Sequence[int]) -> Tensor:
    """A copy with the usual order in memory, if there is no view of that shape."""
    if x.is_contiguous() or not _plain(x) or not _worth(x.numel()):
        return x
    view = x.numpy().view()
    try:
        view.shape = tuple(shape)
    except (AttributeError, ValueError):
        return _copied(x)
    return x


def _contiguous(x: Tensor, *, memory_format: torch.memory_format | None = None) -> Tensor:
    """`Tensor.contiguous`."""
    usual = memory_format in (None, torch.contiguous_format)
    if usual and _plain(x) and not x.is_contiguous() and _worth(x.numel()):
        return _copied(x)
    return x.contiguous(memory_format=memory_format or torch.contiguous_format)


def _copied(x: Tensor) -> Tensor:
    result = x.new_empty(x.shape)
    np.copyto(result.numpy(), x.numpy())
    return result


def _worth(count: int) -> bool:
    """Whether torch would share so many values, and one thread is done with them soon."""
    return _SHARED <= count <= _MOST


def _plain(x: Tensor) -> bool:
    """Whether NumPy takes it as it is."""
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and x.layout is torch.strided
        and x.dtype in _KNOWN
        and not (x.requires_grad or x.is_neg() or x.is_conj())
    )


_KNOWN = frozenset((torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8))

_MOVING: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.cat.default: _joined,
    torch.ops.aten.contiguous.default: _contiguous,
    torch.ops.aten.flatten.using_ints: _flattened,
    torch.ops.aten.reshape.default: _reshaped,
}
"""What stands in for an operator of torch."""
