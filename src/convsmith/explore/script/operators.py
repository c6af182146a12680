"""Python's operators between numbers, tuples and tensors.

Raises of every function here: `Refusal`, for values that it has no meaning for.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from convsmith.explore.script.operations import broadcast, indexed, matmul
from convsmith.explore.script.values import LARGEST, Function, Module, Refusal, Tensor

__all__ = ["combined", "compared", "picked", "signed"]

_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARED: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_SIGNS = {ast.Add: "+", ast.Sub: "−", ast.Mult: "·", ast.Div: "/"}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def combined(op: ast.operator, left: Any, right: Any) -> Any:
    """Two values with an operator between."""
    if isinstance(op, ast.MatMult):
        if isinstance(left, Tensor) and isinstance(right, Tensor):
            return matmul(left, right)
        raise Refusal("code tensor", name="@")
    if isinstance(op, ast.Pow) and isinstance(left, Tensor):
        return left
    if type(op) not in _ARITHMETIC:
        raise Refusal("code unread", what=type(op).__name__)
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        if not all(isinstance(each, Tensor) or _number(each) for each in (left, right)):
            raise Refusal("code tensor", name=_SIGNS.get(type(op), "%"))
        shapes = [each.shape if isinstance(each, Tensor) else () for each in (left, right)]
        return broadcast(_SIGNS.get(type(op), "%"), *shapes)
    same = type(left) is type(right) and isinstance(left, (tuple, list))
    if same and isinstance(op, ast.Add) and len(left) + len(right) <= 64:
        return left + right
    if not (_number(left) and _number(right)):
        raise Refusal("code unread", what=_SIGNS.get(type(op), "%"))
    try:
        found = _ARITHMETIC[type(op)](left, right)
    except (ZeroDivisionError, OverflowError):
        raise Refusal("code zero") from None
    if isinstance(found, int) and abs(found) > LARGEST:
        raise Refusal("code large", value=f"2^{abs(found).bit_length() - 1}")
    return found


def signed(op: ast.unaryop, value: Any) -> Any:
    """A value with an operator before it."""
    if isinstance(value, Tensor):
        return value
    if isinstance(op, ast.Not) and not isinstance(value, (Module, Function)):
        return not value
    if isinstance(op, ast.USub) and _number(value):
        return -value
    raise Refusal("code unread", what=type(op).__name__)


def compared(op: ast.cmpop, left: Any, right: Any) -> Any:
    """Two values, compared."""
    if isinstance(op, (ast.Is, ast.IsNot)) and right is None:
        return (left is None) == isinstance(op, ast.Is)
    if isinstance(left, Tensor):
        return broadcast("==", left.shape, right.shape if isinstance(right, Tensor) else ())
    if type(op) in _COMPARED and _plain(left) and _plain(right):
        try:
            return _COMPARED[type(op)](left, right)
        except TypeError:
            pass
    raise Refusal("code unread", what=type(op).__name__)


def _plain(value: Any) -> bool:
    """Whether it is a number, a text, None, or a few of them."""
    single = (int, float, str, type(None))
    if isinstance(value, (tuple, list)):
        return all(isinstance(each, single) for each in value)
    return isinstance(value, single)


def picked(value: Any, index: Any) -> Any:
    """What square brackets pick of a tensor, a series of layers, a tuple or a list."""
    if isinstance(value, Tensor):
        return indexed(value, index)
    if isinstance(value, Module) and value.parts:
        value = value.parts
    if isinstance(value, (tuple, list)) and isinstance(index, (int, slice)):
        try:
            return value[index]
        except (IndexError, TypeError, ValueError):
            raise Refusal("code no axis", name="[ ]", axis=index, count=len(value)) from None
    raise Refusal("code unread", what="[ ]")
