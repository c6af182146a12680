"""Reads lines of PyTorch one by one and says which shapes they give.

The lines are parsed, never compiled or run: what has a meaning here is what stands in the tables of
this room, and the classes and functions that the lines define. Everything else is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import Any
from unicodedata import normalize

from convsmith.explore.script.calls import called
from convsmith.explore.script.definitions import Bound, Class, Defined, Object, bind
from convsmith.explore.script.names import TENSOR_NAMES, spaces
from convsmith.explore.script.operators import combined, compared, picked, signed
from convsmith.explore.script.rows import Row, row_of
from convsmith.explore.script.values import Function, Module, Refusal, Space, Tensor

__all__ = ["MOST_CODE", "read_script"]

MOST_CODE = 8_000
"""Characters of the longest script that is read."""

_ROWS, _STEPS, _DEPTH, _PARTS = 200, 20_000, 20, 256


class _Returned(Exception):
    """What a function returns."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _Over(Exception):
    """A line was refused: nothing after it has a shape."""


def read_script(code: str) -> list[Row]:
    r"""Every line that gives something, in the order in which it is run; a refused one is the last.

    Args:
        code: lines of Python, at most `MOST_CODE` characters; `torch`, `nn` and `F` are known.

    >>> rows = read_script("conv = nn.Conv2d(3, 8, 3)\ny = conv(torch.rand(1, 3, 8, 8))")
    >>> rows[0].weight, rows[1].shape
    ((8, 3, 3, 3), (1, 8, 6, 6))
    >>> read_script("nn.Conv2d(3, 8, 3)(torch.rand(1, 1, 8, 8))")[0].refusal.said("en")
    'nn.Conv2d expects 3 channels (axis 1); the input 1×1×8×8 has 1.'
    """
    if len(code) > MOST_CODE:
        return [Row(1, "", refusal=Refusal("code long", most=f"{MOST_CODE:,}"))]
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        number = getattr(error, "lineno", None) or 1
        lines = code.splitlines()
        line = lines[number - 1].strip() if number <= len(lines) else ""
        return [Row(number, line, refusal=_misspelt(line))]
    reader = _Reader(code.splitlines())
    with suppress(_Over, _Returned):
        reader.block(tree.body, spaces())
    return reader.rows


def _misspelt(line: str) -> Refusal:
    """Why a line is no Python: often a comma or bracket from a Chinese keyboard."""
    for mark in line:
        if "\uff01" <= mark <= "\uff5e" and not mark.isalnum():
            return Refusal("code wide", mark=mark, plain=normalize("NFKC", mark))
    return Refusal("code syntax")


class _Reader:
    """Walks through the statements and keeps a row for each."""

    def __init__(self, lines: list[str]) -> None:
        self.rows: list[Row] = []
        self._lines = lines
        self._steps = 0
        self._depth = 0

    def block(self, body: list[ast.stmt], names: dict[str, Any]) -> None:
        """Statement by statement; `names` is what they know and change."""
        for node in body:
            with self._refused_at(node):
                self._step()
                self._statement(node, names)

    @contextmanager
    def _refused_at(self, node: ast.stmt) -> Iterator[None]:
        try:
            yield
        except Refusal as refusal:
            self._row(node, refusal=refusal)
            raise _Over from None
        except RecursionError:
            self._row(node, refusal=Refusal("code deep"))
            raise _Over from None
        except (TypeError, ValueError, AttributeError, LookupError, OverflowError):
            # Something of another type than a table's function takes.
            self._row(node, refusal=Refusal("code types"))
            raise _Over from None

    def _row(self, node: ast.stmt, value: Any = None, refusal: Refusal | None = None) -> None:
        if len(self.rows) >= _ROWS:
            raise _Over
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.For, ast.With, ast.If)):
            last = first + 1
        line = " ".join(line.strip() for line in self._lines[first:last])
        self.rows.append(row_of(node.lineno, line, value, refusal))

    def _statement(self, node: ast.stmt, names: dict[str, Any]) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                found = self._value(value, names)
                for target in targets:
                    self._assign(target, found, names)
                self._row(node, found)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                found = self._value(value, names)
                self._assign(target, found, names)
                self._row(node, found)
            case ast.AugAssign(target=target, op=op, value=value):
                now = self._value(target, names)
                found = combined(op, now, self._value(value, names))
                self._assign(target, found, names)
                self._row(node, found)
            case ast.Expr(value=ast.Constant()):
                pass  # a docstring
            case ast.Expr(value=value):
                found = self._value(value, names)
                if not _is_super(value):
                    self._row(node, found)
            case ast.Return(value=value):
                found = self._value(value, names) if value else None
                self._row(node, found)
                raise _Returned(found)
            case ast.FunctionDef():
                names[node.name] = Defined(node, names)
            case ast.ClassDef():
                methods = {each.name: Defined(each, names) for each in node.body
                           if isinstance(each, ast.FunctionDef)}  # fmt: skip
                names[node.name] = Class(node.name, methods)
            case ast.With(body=body):
                self.block(body, names)
            case ast.For(target=target, iter=over, body=body):
                for each in _each(self._value(over, names)):
                    self._assign(target, each, names)
                    self.block(body, names)
            case ast.If(test=test, body=body, orelse=other):
                self.block(body if self._truth(test, names) else other, names)
            case ast.Import() | ast.ImportFrom():
                _bring(node, names)
            case ast.Pass() | ast.Assert():
                pass
            case _:
                raise Refusal("code unread", what=type(node).__name__)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _STEPS:
            raise Refusal("code deep")

    def _truth(self, test: ast.expr, names: dict[str, Any]) -> bool:
        found = self._value(test, names)
        if isinstance(found, (Tensor, Module, Space, Function)):
            raise Refusal("code unread", what="if")
        return bool(found)

    def _assign(self, target: ast.expr, value: Any, names: dict[str, Any]) -> None:
        match target:
            case ast.Name(id=name):
                names[name] = value
            case ast.Attribute(value=of, attr=name):
                owner = self._value(of, names)
                if not isinstance(owner, Object):
                    raise Refusal("code unread", what=f".{name} =")
                owner.attributes[name] = value
            case ast.Tuple(elts=parts) | ast.List(elts=parts) if isinstance(value, (tuple, list)):
                if len(parts) != len(value) or any(isinstance(p, ast.Starred) for p in parts):
                    raise Refusal("code unpack", names=len(parts), values=len(value))
                for part, each in zip(parts, value, strict=True):
                    self._assign(part, each, names)
            case _:
                raise Refusal("code unread", what=ast.unparse(target)[:40])

    def _value(self, node: ast.expr, names: dict[str, Any]) -> Any:
        self._step()
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                if name not in names:
                    raise Refusal("code name", name=name)
                return names[name]
            case ast.Attribute(value=of, attr=name):
                return self._attribute(self._value(of, names), name)
            case ast.Call():
                return self._call(node, names)
            case ast.Tuple(elts=parts):
                return tuple(self._parts(parts, names))
            case ast.List(elts=parts):
                return self._parts(parts, names)
            case ast.BinOp(left=left, op=op, right=right):
                return combined(op, self._value(left, names), self._value(right, names))
            case ast.UnaryOp(op=op, operand=operand):
                return signed(op, self._value(operand, names))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return compared(op, self._value(left, names), self._value(right, names))
            case ast.Subscript(value=of, slice=index):
                return picked(self._value(of, names), self._value(index, names))
            case ast.Slice(lower=lower, upper=upper, step=step):
                return slice(*(self._value(n, names) if n else None for n in (lower, upper, step)))
            case ast.JoinedStr():
                return "…"
        raise Refusal("code unread", what=ast.unparse(node)[:40])

    def _parts(self, parts: list[ast.expr], names: dict[str, Any]) -> list[Any]:
        found: list[Any] = []
        for part in parts:
            if isinstance(part, ast.Starred):
                found += _each(self._value(part.value, names))
            else:
                found.append(self._value(part, names))
            if len(found) > _PARTS:
                raise Refusal("code deep")
        return found

    def _attribute(self, owner: Any, name: str) -> Any:
        if isinstance(owner, Space) and name in owner.names:
            return owner.names[name]
        if isinstance(owner, Tensor) and name in TENSOR_NAMES:
            return TENSOR_NAMES[name](owner)
        if isinstance(owner, Module):
            shape = {"weight": owner.weight, "bias": owner.bias}.get(name)
            if shape:
                return Tensor(shape)
            if name in ("eval", "train", "to", "cpu", "cuda", "float", "double"):
                return Function(f"{owner.name}.{name}", lambda *_a, **_m: owner)
        if isinstance(owner, Object):
            if name in owner.attributes:
                return owner.attributes[name]
            if name in owner.of.methods:
                return Bound(owner, owner.of.methods[name])
            if name in ("eval", "train", "to", "cpu", "cuda"):
                return Function(name, lambda *_a, **_m: owner)
        what = getattr(owner, "name", None) or getattr(getattr(owner, "of", None), "name", None)
        known = TENSOR_NAMES if isinstance(owner, Tensor) else getattr(owner, "names", ())
        near = get_close_matches(name, known, n=1)
        key = "code near" if near else "code attribute"
        raise Refusal(key, name=name, of=what or type(owner).__name__, near="".join(near))

    def _call(self, node: ast.Call, names: dict[str, Any]) -> Any:
        if _is_super(node):
            return None
        target = self._value(node.func, names)
        args = self._parts(node.args, names)
        if any(word.arg is None for word in node.keywords):
            raise Refusal("code unread", what="**")
        more = {str(word.arg): self._value(word.value, names) for word in node.keywords}
        return self._applied(target, args, more)

    def _applied(self, target: Any, args: list[Any], more: dict[str, Any]) -> Any:
        match target:
            case Module(name="nn.Sequential", parts=parts):
                if len(args) != 1:
                    raise Refusal("code many", name="nn.Sequential", most=1, given=len(args))
                value = args[0]
                for at, part in enumerate(parts):
                    value = self._applied(part, [value], {})
                    name = part.name if isinstance(part, Module) else part.of.name
                    self.rows.append(row_of(0, f"  {at}: {name}", value))
                return value
            case Module(name=name, apply=apply):
                return called(Function(name, apply), args, more)
            case Function():
                return called(target, args, more)
            case Bound(owner=owner, method=method):
                return self._run(method, [owner, *args], more)
            case Defined():
                return self._run(target, args, more)
            case Class(methods=methods):
                made = Object(target)
                if "__init__" in methods:
                    self._run(methods["__init__"], [made, *args], more)
                return made
            case Object(of=of):
                if "forward" not in of.methods:
                    raise Refusal("code attribute", name="forward", of=of.name)
                return self._run(of.methods["forward"], [target, *args], more)
        raise Refusal("code uncallable", value=type(target).__name__)

    def _run(self, defined: Defined, args: list[Any], more: dict[str, Any]) -> Any:
        """What a function of the lines returns."""
        self._depth += 1
        if self._depth > _DEPTH:
            raise Refusal("code deep")
        names = dict(defined.names) | self._bound(defined, args, more)
        try:
            self.block(defined.node.body, names)
        except _Returned as returned:
            return returned.value
        finally:
            self._depth -= 1
        return None

    def _bound(self, defined: Defined, args: list[Any], more: dict[str, Any]) -> dict[str, Any]:
        """The parameters with their values; what is left out is read where it was defined."""
        bound, usual = bind(defined.node, args, more)
        return bound | {word: self._value(node, defined.names) for word, node in usual.items()}


def _is_super(node: ast.expr) -> bool:
    """Whether it is `super().__init__()`, in any spelling."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")))):
            return True
    return False


def _bring(node: ast.Import | ast.ImportFrom, names: dict[str, Any]) -> None:
    """Names of torch by those that an import gives them; other packages stay unknown."""
    known = spaces()
    paths = {"torch": known["torch"], "torch.nn": known["nn"], "torch.nn.functional": known["F"]}
    if isinstance(node, ast.Import):
        for each in node.names:
            if each.name in paths and each.asname:
                names[each.asname] = paths[each.name]
        return
    for each in node.names:
        of = paths.get(node.module or "")
        found = of.names.get(each.name) if of else None
        if found is not None:
            names[each.asname or each.name] = found


def _each(value: Any) -> list[Any]:
    if isinstance(value, Module):
        return list(value.parts)
    if isinstance(value, (tuple, list)):
        return list(value)
    raise Refusal("code unread", what="for")
