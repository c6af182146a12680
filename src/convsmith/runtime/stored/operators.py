"""Operators of torch that a stored graph may call: those that a `.pt2` may, by the same rule."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch._ops import OpOverload

from convsmith.errors import ModelError

__all__ = ["KNOWN", "name_of", "operator_named"]

KNOWN = frozenset(
    f"torch.ops.aten.{name}" for name in (
        "add.Tensor", "cat.default", "dropout.default", "flatten.using_ints", "mul.Tensor",
        "permute.default", "relu.default", "reshape.default", "sigmoid.default", "softmax.int",
        "squeeze.dim", "transpose.int", "unflatten.int", "unsqueeze.default", "view.default",
    )
)  # fmt: skip
"""Those that most networks need beside kernels. The rule would allow them, as a test shows; to ask
it takes longer than to load a network, for the families of operations are then imported."""

_NAME = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)", re.ASCII)
_BUILTINS = {f"_operator.{name}": getattr(operator, name) for name in ("getitem",)}


def name_of(target: Any) -> str:
    """What a graph calls a function by.

    Raises:
        ModelError: for one that a stored graph may not call, with the reason.
    """
    if isinstance(target, OpOverload):
        packet = target._opname
        name = f"torch.ops.{target.namespace}.{packet}.{target._overloadname}"
    else:
        name = f"{getattr(target, '__module__', '?')}.{getattr(target, '__name__', target)}"
    operator_named(name)
    return name


def operator_named(name: Any) -> Callable[..., Any]:
    """The function of that name.

    Raises:
        ModelError: for one that a stored graph may not call, with the reason.
    """
    if not isinstance(name, str):
        raise ModelError("an operator has a name")
    if name in _BUILTINS:
        builtin: Callable[..., Any] = _BUILTINS[name]
        return builtin
    reason = ""
    match = _NAME.fullmatch(name)
    if match is None:
        reason = "is not an operator of PyTorch's own"
    elif name not in KNOWN:
        from convsmith.network.stored.operators import refusal

        reason = refusal(name)
    if not reason:
        assert match is not None
        found: Any = getattr(getattr(torch.ops.aten, match[1]), match[2])
        if not found._schema.is_mutable:
            called: Callable[..., Any] = found
            return called
        reason = "writes into a tensor"
    raise ModelError(f"{name[:80]!r} {reason}: a stored network does not call it")
