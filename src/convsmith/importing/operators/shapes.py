"""Shapes, and what moves values without changing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.importing.file import Node
from convsmith.importing.host import Host, as_tensor, numbers, tensor_of
from convsmith.importing.table import operator
from convsmith.machine import memory

__all__: list[str] = []

_TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32,
    7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip
_as_int: Any = torch.sym_int
_as_float: Any = torch.sym_float
_FEW = 16
"""Whole numbers that may be sizes, or what sizes are computed from."""
_WHOLE = (torch.int32, torch.int64)


@operator("Shape")
def _shape(node: Node, values: Sequence[Any]) -> Any:
    value = values[0]
    shape = _lengths(value)
    return Host(tuple(shape[node.attributes.get("start", 0) : node.attributes.get("end")]))


def _lengths(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return () if not isinstance(value, Host) or value.scalar else (len(value.values),)


@operator("Size")
def _size(node: Node, values: Sequence[Any]) -> Any:
    return Host((as_tensor(values[0]).numel(),), scalar=True)


@operator("Cast", "CastLike")
def _cast(node: Node, values: Sequence[Any]) -> Any:
    if node.kind == "CastLike":
        like = as_tensor(values[1])
        kind = like.dtype if isinstance(like, Tensor) else torch.float32
    else:
        to = node.attributes.get("to")
        if to not in _TYPES:
            raise node.refuse(f"casts to type {to}, which is not known")
        kind = _TYPES[to]
    value = values[0]
    if isinstance(value, Host):
        if kind in _WHOLE:
            return value.like([v if isinstance(v, int) else _as_int(v) for v in value.values])
        if kind.is_floating_point:
            return value.like([_as_float(v) for v in value.values])
        return as_tensor(value).to(kind)
    if not isinstance(value, Tensor):
        return Host((int(value),), scalar=True) if kind in _WHOLE else value
    return value.to(kind)


@operator("Reshape")
def _reshape(node: Node, values: Sequence[Any]) -> Any:
    value, lengths = values[0], numbers(values[1])
    if isinstance(value, Host):
        return Host(value.values, scalar=not lengths)
    value = tensor_of(value)
    if not node.attributes.get("allowzero", 0):
        lengths = [
            value.shape[axis] if isinstance(n, int) and n == 0 else n
            for axis, n in enumerate(lengths)
        ]
    return value.reshape(lengths)


@operator("Flatten")
def _flatten(node: Node, values: Sequence[Any]) -> Any:
    axis = node.attributes.get("axis", 1)
    value = values[0]
    axis = axis + value.dim() if axis < 0 else axis
    if axis == 1:
        return torch.flatten(value, 1)
    if axis == 0:
        return value.reshape(1, -1)
    return value.flatten(axis).flatten(0, axis - 1)


@operator("Transpose")
def _transpose(node: Node, values: Sequence[Any]) -> Any:
    value = values[0]
    return value.permute(node.attributes.get("perm") or list(range(value.dim()))[::-1])


def _axes(node: Node, values: Sequence[Any], place: int = 1) -> list[int] | None:
    """The axes of a node: an attribute in older operators, an input in newer ones."""
    if len(values) > place and values[place] is not None:
        return numbers(values[place])
    axes = node.attributes.get("axes")
    return None if axes is None else list(axes)


@operator("Squeeze")
def _squeeze(node: Node, values: Sequence[Any]) -> Any:
    value, axes = values[0], _axes(node, values)
    if isinstance(value, Host):
        return Host(value.values, scalar=True)
    if axes is None:
        return value.squeeze()
    for axis in sorted((a + value.dim() if a < 0 else a for a in axes), reverse=True):
        value = value.squeeze(axis)
    return value


@operator("Unsqueeze")
def _unsqueeze(node: Node, values: Sequence[Any]) -> Any:
    value, axes = values[0], _axes(node, values) or []
    if isinstance(value, Host) and value.scalar and len(axes) == 1:
        return Host(value.values)
    value = tensor_of(value)
    rank = value.dim() + len(axes)
    for axis in sorted(a + rank if a < 0 else a for a in axes):
        value = value.unsqueeze(axis)
    return value


@operator("Concat")
def _concat(node: Node, values: Sequence[Any]) -> Any:
    if all(isinstance(value, Host) for value in values):
        return Host(tuple(number for value in values for number in value.values))
    tensors = [tensor_of(value) for value in values]
    return torch.cat(tensors, node.attributes.get("axis", 0))


@operator("Split")
def _split(node: Node, values: Sequence[Any]) -> Any:
    value, axis = values[0], node.attributes.get("axis", 0)
    sizes = numbers(values[1]) if len(values) > 1 and values[1] is not None else None
    sizes = sizes or node.attributes.get("split")
    if sizes is None:
        count = len(node.outputs)
        return value.chunk(count, axis)
    return torch.split(value, sizes, axis)


@operator("Slice")
def _slice(node: Node, values: Sequence[Any]) -> Any:
    value = values[0]
    if len(values) > 1:
        starts, ends = numbers(values[1]), numbers(values[2])
        axes = _axes(node, values, 3)
        steps = numbers(values[4]) if len(values) > 4 and values[4] is not None else None
    else:
        starts, ends = node.attributes["starts"], node.attributes["ends"]
        axes, steps = node.attributes.get("axes"), None
    steps = steps or [1] * len(starts)
    if isinstance(value, Host):
        return Host(value.values[slice(starts[0], ends[0], steps[0])])
    for axis, start, end, step in zip(axes or range(len(starts)), starts, ends, steps, strict=True):
        if step > 0:
            places: list[Any] = [slice(None)] * value.dim()
            places[axis] = slice(start, end, step)
            value = value[tuple(places)]
        elif step == -1 and _is_whole(value.shape[axis], start, end):
            value = value.flip(axis)
        else:
            raise node.refuse(f"steps backwards by {-step}, which is not supported")
    return value


def _is_whole(length: Any, start: Any, end: Any) -> bool:
    """Whether a slice backwards takes all."""
    return bool((start == -1 or start >= length - 1) and end < -length)


@operator("Gather")
def _gather(node: Node, values: Sequence[Any]) -> Any:
    value, picks = values[0], values[1]
    axis = node.attributes.get("axis", 0)
    if isinstance(value, Host):
        taken = tuple(value.values[int(place)] for place in numbers(picks))
        return Host(taken, scalar=isinstance(picks, Host) and picks.scalar)
    value = tensor_of(value)
    if isinstance(picks, Host) and picks.scalar:
        return value.select(axis, picks.values[0])
    places = as_tensor(picks, value)
    if isinstance(picks, Host):
        places = torch.where(places < 0, places + value.shape[axis], places)
    found = value.index_select(axis, places.reshape(-1))
    shape = value.shape[:axis] + places.shape + value.shape[axis % value.dim() + 1 :]
    return found if places.dim() == 1 else found.reshape(shape)


@operator("GatherND")
def _gather_nd(node: Node, values: Sequence[Any]) -> Any:
    if node.attributes.get("batch_dims", 0):
        raise node.refuse("has batch_dims, which are not supported")
    value = tensor_of(values[0])
    return value[tuple(as_tensor(values[1], value).unbind(-1))]


@operator("Expand")
def _expand(node: Node, values: Sequence[Any]) -> Any:
    lengths = numbers(values[1])
    if isinstance(values[0], Host) and lengths in ([1], [len(values[0].values)]):
        return Host(values[0].values)
    value = tensor_of(values[0])
    missing = len(lengths) - value.dim()
    own = [*([1] * missing), *value.shape] if missing > 0 else list(value.shape)
    lengths = [*([1] * -missing), *lengths] if missing < 0 else lengths
    return value.expand(
        [a if isinstance(n, int) and n == 1 else n for a, n in zip(own, lengths, strict=True)]
    )


@operator("Tile")
def _tile(node: Node, values: Sequence[Any]) -> Any:
    return values[0].repeat(numbers(values[1]))


@operator("ConstantOfShape")
def _constant_of_shape(node: Node, values: Sequence[Any]) -> Any:
    lengths = numbers(values[0])
    held = node.attributes.get("value")
    fill = 0.0 if held is None else held.reshape(-1)[0].item()
    one = lengths[0] if len(lengths) == 1 else None
    if isinstance(one, int) and isinstance(fill, int) and one <= _FEW:
        return Host((fill,) * one)
    known = [n for n in lengths if isinstance(n, int)]
    product = 1
    for length in known:
        product *= length
    if product > memory():
        raise node.refuse(f"makes {product:,} values, more than this machine has bytes")
    kind = torch.float32 if held is None else getattr(torch, str(held.dtype))
    return torch.full(lengths, fill, dtype=kind)


@operator("Range")
def _range(node: Node, values: Sequence[Any]) -> Any:
    start, stop, step = (numbers(value)[0] for value in values)
    return torch.arange(start, stop, step)


@operator("Pad")
def _pad(node: Node, values: Sequence[Any]) -> Any:
    value = values[0]
    if len(values) > 1:
        pads = numbers(values[1])
        fill = values[2] if len(values) > 2 and values[2] is not None else 0.0
        axes = _axes(node, values, 3)
    else:
        pads, fill, axes = node.attributes["pads"], node.attributes.get("value", 0.0), None
    fill = numbers(fill)[0] if not isinstance(fill, (float, Tensor)) else float(fill)
    axes = axes or list(range(value.dim()))
    half = len(pads) // 2
    both = {a % value.dim(): (pads[i], pads[half + i]) for i, a in enumerate(axes)}
    mode = node.attributes.get("mode", "constant")
    mode = {"edge": "replicate", "wrap": "circular"}.get(mode, mode)
    last = 0 if mode == "constant" else 2
    flat: list[Any] = []
    for axis in reversed(range(last, value.dim())):
        flat += both.get(axis, (0, 0))
    if any(p != 0 for axis in range(last) for p in both.get(axis, (0, 0)) if isinstance(p, int)):
        raise node.refuse(f"pads batch or channels by {mode!r}, which is not supported")
    return F.pad(value, flat, mode, fill) if mode == "constant" else F.pad(value, flat, mode)


@operator("DepthToSpace")
def _depth_to_space(node: Node, values: Sequence[Any]) -> Any:
    value, block = values[0], node.attributes["blocksize"]
    if node.attributes.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(value, block)
    n, c, h, w = value.shape
    value = value.reshape(n, block, block, c // block**2, h, w)
    return value.permute(0, 3, 4, 1, 5, 2).reshape(n, c // block**2, h * block, w * block)


@operator("SpaceToDepth")
def _space_to_depth(node: Node, values: Sequence[Any]) -> Any:
    value, block = values[0], node.attributes["blocksize"]
    n, c, h, w = value.shape
    value = value.reshape(n, c, h // block, block, w // block, block)
    return value.permute(0, 3, 5, 1, 2, 4).reshape(n, c * block**2, h // block, w // block)
