"""What tensors can do: their methods and the functions of `torch`, with the shapes they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from convsmith.explore.script.values import Refusal, Shape, Tensor, axis_in, tensor_of, whole
from convsmith.text import times

__all__ = [
    "CREATORS",
    "METHODS",
    "broadcast",
    "cat",
    "flatten",
    "indexed",
    "literal_tensor",
    "matmul",
    "same",
    "softmax",
    "stack",
]


def broadcast(name: str, *shapes: Shape) -> Tensor:
    """The shape that values of these shapes give together, from the last axis on.

    >>> broadcast("+", (3, 1), (4,)).shape
    (3, 4)
    """
    result: list[int] = []
    for at in range(1, max(map(len, shapes)) + 1):
        lengths = {shape[-at] for shape in shapes if len(shape) >= at} - {1}
        if len(lengths) > 1:
            both = " · ".join(Tensor(shape).written for shape in shapes)
            raise Refusal("code broadcast", name=name, shapes=both)
        result.insert(0, lengths.pop() if lengths else 1)
    return Tensor(tuple(result))


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices, or of batches of them; one axis is a row or a column.

    >>> matmul(Tensor((4, 16)), Tensor((16,))).shape
    (4,)
    """
    if not a.shape or not b.shape:
        raise Refusal("code product", left=a.written, right=b.written)
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    if left[-1] != right[-2]:
        raise Refusal("code product", left=a.written, right=b.written)
    batch = broadcast("@", left[:-2], right[:-2]).shape if max(len(left), len(right)) > 2 else ()
    rows = left[-2:-1] if len(a.shape) > 1 else ()
    columns = right[-1:] if len(b.shape) > 1 else ()
    return Tensor((*batch, *rows, *columns))


def indexed(tensor: Tensor, index: Any) -> Tensor:
    """What square brackets pick: whole numbers, slices, None and `...`."""
    parts = list(index) if isinstance(index, tuple) else [index]
    taken = sum(part is not None and part is not Ellipsis for part in parts)
    if taken > len(tensor.shape) or parts.count(Ellipsis) > 1:
        raise Refusal("code index", count=taken, shape=tensor.written)
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    at, shape = 0, []
    for part in parts:
        if part is None:
            shape.append(1)
        elif part is Ellipsis:
            rest = len(tensor.shape) - taken
            shape += tensor.shape[at : at + rest]
            at += rest
        elif isinstance(part, slice):
            if part.step is not None and whole("step", part.step) < 1:
                raise AssertionError
            shape.append(len(range(*part.indices(tensor.shape[at]))))
            at += 1
        else:
            axis_in("[ ]", part, tensor.shape[at])
            at += 1
    return Tensor(tuple(shape))


def _sizes(name: str, sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given one by one, or as one tuple."""
    given = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    return tuple(whole(name, size, -1) for size in given)


def reshape(tensor: Tensor, *shape: Any) -> Tensor:
    """The same values in another shape; one size may be -1."""
    sizes = _sizes("shape", shape)
    count, known = prod(tensor.shape), prod(size for size in sizes if size != -1)
    missing = sizes.count(-1)
    if (
        missing > 1
        or (missing and (not known or count % known))
        or (not missing and count != known)
    ):
        raise Refusal("code view", shape=tensor.written, count=f"{count:,}", wanted=times(sizes))
    return Tensor(tuple(count // known if size == -1 else size for size in sizes))


def flatten(tensor: Tensor, start_dim: Any = 0, end_dim: Any = -1) -> Tensor:
    """Several axes as one."""
    shape = tensor.shape or (1,)
    first, last = (axis_in("flatten", axis, len(shape)) for axis in (start_dim, end_dim))
    if first > last:
        raise Refusal("code no axis", name="flatten", axis=start_dim, count=last + 1)
    return Tensor((*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :]))


def unsqueeze(tensor: Tensor, dim: Any) -> Tensor:
    """A new axis of length 1."""
    at = axis_in("unsqueeze", dim, len(tensor.shape) + 1)
    return Tensor((*tensor.shape[:at], 1, *tensor.shape[at:]))


def squeeze(tensor: Tensor, dim: Any = None) -> Tensor:
    """Without axes of length 1, or without that one."""
    if dim is None:
        return Tensor(tuple(length for length in tensor.shape if length != 1))
    at = axis_in("squeeze", dim, max(1, len(tensor.shape)))
    if not tensor.shape:
        return tensor
    return Tensor((*tensor.shape[:at], *tensor.shape[at + (tensor.shape[at] == 1) :]))


def permute(tensor: Tensor, *dims: Any) -> Tensor:
    """The axes in another order."""
    given = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    axes = [axis_in("permute", axis, len(tensor.shape)) for axis in given]
    if sorted(axes) != list(range(len(tensor.shape))):
        raise Refusal("code permute", shape=tensor.written, count=len(tensor.shape))
    return Tensor(tuple(tensor.shape[axis] for axis in axes))


def transpose(tensor: Tensor, dim0: Any, dim1: Any) -> Tensor:
    """Two axes change places."""
    shape = list(tensor.shape)
    a, b = (axis_in("transpose", axis, len(shape)) for axis in (dim0, dim1))
    shape[a], shape[b] = shape[b], shape[a]
    return Tensor(tuple(shape))


def _reduced(name: str) -> Callable[..., Tensor]:
    def reduce(tensor: Tensor, dim: Any = None, keepdim: Any = False) -> Tensor:
        given = range(len(tensor.shape)) if dim is None else dim
        axes = given if isinstance(given, (tuple, list, range)) else [given]
        gone = {axis_in(name, axis, max(1, len(tensor.shape))) for axis in axes}
        if len(gone) < len(axes):
            raise Refusal("code permute", shape=tensor.written, count=len(tensor.shape))
        return Tensor(tuple(
            1 if at in gone else length
            for at, length in enumerate(tensor.shape) if keepdim or at not in gone
        ))  # fmt: skip

    return reduce


def expand(tensor: Tensor, *sizes: Any) -> Tensor:
    """Axes of length 1 repeated; -1 keeps one."""
    wanted = _sizes("expand", sizes)
    before = len(wanted) - len(tensor.shape)
    result = []
    for at, size in enumerate(wanted):
        length = tensor.shape[at - before] if at >= before else None
        if (
            before < 0
            or (size == -1 and length is None)
            or (size != -1 and length not in (None, 1, size))
        ):
            raise Refusal("code broadcast", name="expand",
                          shapes=f"{tensor.written} · {times(wanted)}")  # fmt: skip
        result.append(length if size == -1 and length is not None else size)
    return Tensor(tuple(result))


def repeat(tensor: Tensor, *sizes: Any) -> Tensor:
    """The whole of it so many times along each axis."""
    counts = _sizes("repeat", sizes)
    shape = (1,) * (len(counts) - len(tensor.shape)) + tensor.shape
    if len(shape) != len(counts):
        raise Refusal("code index", count=len(counts), shape=tensor.written)
    return Tensor(tuple(length * n for length, n in zip(shape, counts, strict=True)))


def _size(tensor: Tensor, dim: Any = None) -> Any:
    return tensor.shape if dim is None else tensor.shape[axis_in("size", dim, len(tensor.shape))]


def cat(tensors: Any, dim: Any = 0) -> Tensor:
    """Tensors one after another along an axis: by channel with `dim=1`."""
    parts = _several("cat", tensors)
    first = parts[0].shape
    axis = axis_in("cat", dim, len(first))
    rest = {(*part.shape[:axis], *part.shape[axis + 1 :]) for part in parts}
    if len(rest) > 1 or {len(part.shape) for part in parts} != {len(first)}:
        raise Refusal("code cat", axis=axis, shapes=" · ".join(part.written for part in parts))
    return Tensor((*first[:axis], sum(part.shape[axis] for part in parts), *first[axis + 1 :]))


def stack(tensors: Any, dim: Any = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    parts = _several("stack", tensors)
    if len({part.shape for part in parts}) > 1:
        raise Refusal("code cat", axis=dim, shapes=" · ".join(part.written for part in parts))
    at = axis_in("stack", dim, len(parts[0].shape) + 1)
    return Tensor((*parts[0].shape[:at], len(parts), *parts[0].shape[at:]))


def _several(name: str, tensors: Any) -> Sequence[Tensor]:
    if not isinstance(tensors, (tuple, list)) or not tensors:
        raise Refusal("code tensor", name=name)
    return [tensor_of(name, each) for each in tensors]


def literal_tensor(data: Any) -> Tensor:
    """The shape of numbers in nested lists.

    >>> literal_tensor([[1, 2, 3], [4, 5, 6]]).shape
    (2, 3)
    """
    return _literal(data, {})


def _literal(data: Any, known: dict[int, Tensor]) -> Tensor:
    """The same; a list that stands in several places is looked at once."""
    if isinstance(data, Tensor):
        return data
    if not isinstance(data, (list, tuple)):
        return Tensor(())
    if id(data) not in known:
        shapes = {_literal(each, known).shape for each in data}
        if len(shapes) > 1:
            raise Refusal("code ragged")
        known[id(data)] = Tensor((len(data), *(shapes.pop() if shapes else ())))
    return known[id(data)]


def _created(*sizes: Any) -> Tensor:
    given = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    return Tensor(tuple(whole("size", size, 0) for size in given))


def _arranged(*bounds: Any) -> Tensor:
    if not 1 <= len(bounds) <= 3:
        raise Refusal("code tensor", name="arange")
    steps = range(*(whole("arange", bound, -(10**9)) for bound in bounds))
    return Tensor((len(steps),))


def _like(tensor: Any) -> Tensor:
    return tensor_of("like", tensor)


def _randint(*given: Any, size: Any = None) -> Tensor:
    return _created(*(size if size is not None else given[-1]))


CREATORS: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("rand", "randn", "zeros", "ones", "empty"), _created),
    **dict.fromkeys(("rand_like", "randn_like", "zeros_like", "ones_like", "empty_like"), _like),
    "arange": _arranged, "tensor": literal_tensor, "randint": _randint,
    "full": lambda size, fill_value: _created(size),
    "eye": lambda n, m=None: _created(n, n if m is None else m),
}  # fmt: skip
"""Functions of `torch` that make tensors."""


def same(tensor: Tensor, *_args: Any, **_more: Any) -> Tensor:
    """Value by value: the shape stays."""
    return tensor


def softmax(tensor: Tensor, dim: Any = None) -> Tensor:
    """Shares along an axis: the shape stays."""
    if dim is not None:
        axis_in("softmax", dim, max(1, len(tensor.shape)))
    return tensor


def _together(name: str) -> Callable[..., Tensor]:
    def run(tensor: Tensor, other: Any) -> Tensor:
        return broadcast(name, tensor.shape, other.shape if isinstance(other, Tensor) else ())

    return run


METHODS: dict[str, Callable[..., Any]] = {
    **{each.__name__: each for each in (unsqueeze, squeeze, reshape, flatten, permute, transpose,
                                        expand, repeat, softmax)},
    "view": reshape, "size": _size, "dim": lambda tensor: len(tensor.shape),
    "numel": lambda tensor: prod(tensor.shape), "t": lambda tensor: transpose(tensor, 0, 1)
        if len(tensor.shape) == 2 else tensor,
    **{name: _reduced(name) for name in ("sum", "mean", "amax", "amin")},
    **dict.fromkeys(
        ("relu", "sigmoid", "tanh", "abs", "exp", "log", "sqrt", "neg", "clamp",
         "contiguous", "clone", "detach", "float", "double", "half", "int", "long", "to", "cpu",
         "cuda", "type", "round", "requires_grad_"), same),
    **{name: _together(name) for name in ("add", "sub", "mul", "div", "maximum", "minimum")},
    "matmul": lambda tensor, other: matmul(tensor, tensor_of("matmul", other)),
}  # fmt: skip
"""Methods of tensors; `torch` has most of them as functions, too."""
