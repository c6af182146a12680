"""Sizes of a program, written as Python expressions: judged before sympy evaluates them."""

from __future__ import annotations

import ast
import re

__all__ = ["is_arithmetic"]

# What sympy prints sizes with: its own classes, and those of torch.utils._sympy.functions.
_ARITHMETIC = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "BooleanFalse",
        "BooleanTrue",
        "Dummy",
        "Equality",
        "Float",
        "GreaterThan",
        "Integer",
        "Integral",
        "ITE",
        "LessThan",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Not",
        "Or",
        "Piecewise",
        "ExprCondPair",
        "Pow",
        "Rational",
        "StrictGreaterThan",
        "StrictLessThan",
        "Symbol",
        "Tuple",
        "Unequality",
        "ceiling",
        "floor",
        "One",
        "Zero",
        "NegativeOne",
        "Half",
        "Infinity",
        "NegativeInfinity",
        "CeilDiv",
        "CeilToInt",
        "CleanDiv",
        "FloatPow",
        "FloatTrueDiv",
        "FloorDiv",
        "FloorToInt",
        "Identity",
        "IntTrueDiv",
        "IsNonOverlappingAndDenseIndicator",
        "LShift",
        "ModularIndexing",
        "PowByNatural",
        "PythonMod",
        "RShift",
        "RoundDecimal",
        "RoundToInt",
        "ToFloat",
        "TruncToFloat",
        "TruncToInt",
        "Where",
    ]
)
_PIECES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Tuple, ast.keyword,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Load,
)  # fmt: skip
_WORD = re.compile(r"[A-Za-z]\w*|[-+]?[\d.]{1,40}(e[-+]?\d{1,3})?")
# Sizes of real programs are far shorter, and their numbers fit in 64 bits.
_LONGEST = 4000
_LARGEST = 1 << 63
# An exponent, a shift or a number of digits beyond this would make sympy compute for ever.
_MOST_DIGITS = 64
_POWERS = ("FloatPow", "LShift", "Pow", "PowByNatural", "RShift")
_NUMBERS = ("Float", "Half", "Integer", "NegativeOne", "One", "Rational", "Zero")


def is_arithmetic(text: str) -> bool:
    """Whether an expression holds only numbers, symbols and known functions, and ends soon.

    >>> is_arithmetic("Add(Integer(2), Symbol('s0'))"), is_arithmetic("open('x')")
    (True, False)
    >>> is_arithmetic("s0**2"), is_arithmetic("9**9**9")
    (True, False)
    """
    if len(text) > _LONGEST:
        return False
    try:
        tree = ast.parse(text, mode="eval")
        return all(map(_is_known, ast.walk(tree))) and all(map(_is_quick, ast.walk(tree)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_known(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return _function(node) in _ARITHMETIC
    if isinstance(node, ast.Name):
        return node.id in _ARITHMETIC or _WORD.fullmatch(node.id) is not None
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _WORD.fullmatch(node.value) is not None
        return isinstance(node.value, (int, float)) and abs(node.value) < _LARGEST
    return isinstance(node, _PIECES)


def _is_quick(node: ast.AST) -> bool:
    """Whether a power or a number of digits is small, and no power stands within another."""
    if isinstance(node, ast.Call) and _function(node) == "Float":
        digits = [*node.args[1:], *(word.value for word in node.keywords)]
        return all(map(_is_small, digits))
    sides = _power(node)
    if not sides:
        return True
    base, *exponents = sides
    return all(map(_is_small, exponents)) and not any(map(_power, ast.walk(base)))


def _power(node: ast.AST) -> list[ast.AST]:
    """The base and the exponents of a power or shift; nothing for another node."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Pow, ast.LShift, ast.RShift)):
        return [node.left, node.right]
    if isinstance(node, ast.Call) and _function(node) in _POWERS:
        return [*node.args, *(word.value for word in node.keywords)] or [node.func]
    return []


def _is_small(node: ast.AST) -> bool:
    """Whether a tree is a number of at most `_MOST_DIGITS`, as Python or as sympy writes it."""
    if isinstance(node, ast.Call):
        return _function(node) in _NUMBERS and all(map(_is_small, node.args))
    if isinstance(node, ast.UnaryOp):
        return _is_small(node.operand)
    if isinstance(node, ast.Constant):
        try:
            return abs(float(node.value)) <= _MOST_DIGITS  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
    return False


def _function(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""
