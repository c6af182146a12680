"""`register`: a user teaches convsmith an operation of their own.

A registration is a `Family` of its own, made from the one that the operation behaves like. The
graph of a network keeps the families it was read with, so registering again does not change it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from types import MappingProxyType
from typing import Any

from convsmith.arithmetic import Window
from convsmith.errors import ArgumentError, nearest
from convsmith.network.families import FAMILIES, FAMILY_OF, Family, Trait
from convsmith.network.families.custom import OwnCost, OwnReads, counted, guarded, reading
from convsmith.network.families.torchvision import OPERATIONS

__all__ = ["Registered", "forget", "register", "registered"]

_QUALIFIED = re.compile(r"\w+::\w+")


@dataclass(frozen=True, slots=True)
class Registered:
    """An operation that a user has taught convsmith.

    Attributes:
        family: its rules.
        name: the operation of PyTorch's that it behaves like, else its own qualified name.
        label: what tables call it.
    """

    family: Family
    name: str
    label: str


# Operations of other libraries; what a user registers comes before it.
_KNOWN: Mapping[str, Registered] = MappingProxyType(
    {name: Registered(family, name, name.partition("::")[2]) for name, family in OPERATIONS.items()}
)
_LOCK = Lock()
_REGISTERED: Mapping[str, Registered] = MappingProxyType({})


def register(
    op: Any,
    family: str | None = None,
    *,
    cost: OwnCost | None = None,
    reads: Window | Sequence[Window] | OwnReads | None = None,
    name: str | None = None,
) -> None:
    """Teach convsmith an operation of your own: what it costs and what it reads.

    `trace`, `inspect`, receptive fields, holes and `dilate` then know it. Say what it behaves like
    (`family`), or write down its cost and what it reads, or both: what you write down replaces
    what the family says. Registering an operation again replaces what was said of it; networks
    that are traced already keep what they were traced with.

    Args:
        op: the operation's qualified name, such as `"mylib::blur"`, or the operation itself
            (`torch.ops.mylib.blur`, or what `torch.library.custom_op` returned). It need not exist
            yet. One of PyTorch's own (`"aten::special_bessel_j0"`) may be registered too.
        family: what it behaves like: a kind of operation (`Layer.kind`), such as `"activation"`
            or `"elementwise"`, or one of PyTorch's operations, such as `"upsample_nearest2d"`.
            Its arguments are then read by the names that they have in PyTorch's schema
            (`dim`, `stride`), and its tensors by their order.
        cost: a function of the `Layer` (`.operands[i].shape`, `.shape`, `.operation.settings`)
            that returns `(multiply-adds, floating-point operations)`, or a `measure.Cost`.
        reads: what it reads. A `Window`, for all of its spatial axes alike, or one per axis: they
            slide along the last axes of the first operand, all channels of which are read. Or a
            function `reads(layer, positions)`: `positions` holds, for each axis of the result, a
            set of positions (`arithmetic.Positions`, which can `shift`, `scale` and `spread`), and
            the function returns a dict: for each operand that is read, by number, one entry per
            axis of that operand: a set of positions, a number, or None for the whole axis.
            Positions outside the operand are padding; there is no need to clip them.
        name: what tables call it; its own name unless given.

    Raises:
        ArgumentError: for a name without `::`, a family that there is not, or nothing that is
            said of the operation.

    >>> import torch, convsmith as cs
    >>> from convsmith.arithmetic import Window
    >>> @torch.library.custom_op("mylib::blur", mutates_args=())
    ... def blur(x: torch.Tensor) -> torch.Tensor:
    ...     return torch.nn.functional.avg_pool2d(x, 3, 2, 1)
    >>> @blur.register_fake
    ... def _(x):
    ...     return x.new_empty(*x.shape[:2], (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2)
    >>> cs.register(blur, cost=lambda layer: (0, 9 * layer.numel), reads=Window(3, 2, (1, 1)))
    >>> class Net(torch.nn.Module):
    ...     def forward(self, x):
    ...         return blur(blur(x))
    >>> report = cs.inspect(Net(), (1, 3, 32, 32))
    >>> report.flops, report.status, report.receptive_field.size
    (8640, 'exact', (7, 7))
    """
    qualified = _qualified(op)
    if family is None and cost is None and reads is None:
        raise ArgumentError(f"nothing is said of {qualified!r}: pass family=, cost= or reads=")
    base, like = _base(family)
    if cost is not None:
        base = counted(qualified, base, cost)
    if reads is not None:
        base = reading(qualified, replace(base, arithmetic=None), reads)
    elif family is not None:
        base = guarded(qualified, family, base)
    entry = Registered(
        family=base,
        name=like or qualified,
        label=name or qualified.partition("::")[2],
    )
    global _REGISTERED
    with _LOCK:  # the mapping itself is never changed, so that reading it needs no lock
        _REGISTERED = MappingProxyType({**_REGISTERED, qualified: entry})


def forget(op: Any) -> None:
    """Take back what `register` was told of an operation; nothing happens if it was told nothing.

    >>> forget("mylib::never_seen")
    """
    global _REGISTERED
    qualified = _qualified(op)
    with _LOCK:
        left = {name: entry for name, entry in _REGISTERED.items() if name != qualified}
        _REGISTERED = MappingProxyType(left)


def registered(qualified: str) -> Registered | None:
    """What is registered under a qualified name, such as `mylib::blur`, or known of a library."""
    return _REGISTERED.get(qualified) or _KNOWN.get(qualified)


def _qualified(op: Any) -> str:
    """The name of an operation with its namespace, whatever stands for it."""
    name = op
    if not isinstance(op, str):
        schema = getattr(op, "_schema", None)
        name = (
            getattr(schema, "name", None)
            or getattr(op, "_qualname", None)
            or getattr(op, "_qualified_op_name", None)
        )
    if not isinstance(name, str) or not _QUALIFIED.fullmatch(name):
        raise ArgumentError(f"an operation is named like 'mylib::blur', not {op!r}")
    return name


def _base(family: str | None) -> tuple[Family, str]:
    """The family that an operation behaves like, and PyTorch's operation where one was named."""
    if family is None:
        return FAMILIES["unknown"], ""
    if family in FAMILY_OF:
        return FAMILIES[FAMILY_OF[family]].of(family), family
    if family in FAMILIES:
        base = FAMILIES[family]
        if base.has(Trait.BY_NAME):
            names = ", ".join(base.names.split()[:3]) or "none"
            raise ArgumentError(
                f"operations of the family {family!r} differ: name the one that yours behaves like "
                f"({names}, …)"
            )
        return replace(base, exceptions=MappingProxyType({})), ""
    hint = nearest(str(family), [*FAMILIES, *FAMILY_OF]) or f", only {', '.join(FAMILIES)}"
    raise ArgumentError(f"there is no family {family!r}{hint}")
