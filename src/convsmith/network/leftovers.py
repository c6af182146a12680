"""Tensors without values that a capture leaves in the user's code: in caches outside of modules.

A shadow keeps what a pass stores in modules. It does not reach the globals of the files in which
they are written, nor attributes of classes, defaults of functions and `functools.lru_cache`. A grid
that is made once and kept there would, after a capture, be a tensor that holds nothing.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence, MutableSet
from contextlib import contextmanager
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType, ModuleType, NoneType, SimpleNamespace
from typing import Any

from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor

from convsmith.network.shadow import LIBRARIES

__all__ = ["without_leftovers"]

# Tests' files, too, name classes of what runs them: a hundred of these would be searched.
_LIBRARIES = LIBRARIES | {"convsmith", "typing_extensions", "pytest", "_pytest", "hypothesis"}
_Cached = type(lru_cache(lambda: None))
# No containers, and most of what there is: asking abstract classes about each takes longer than
# many a capture.
_PLAIN = frozenset({
    str, int, float, bool, bytes, NoneType, type, tuple, ModuleType, BuiltinFunctionType,
})  # fmt: skip
_DEPTH = 4
"""Containers within containers that are searched."""


@contextmanager
def without_leftovers(model: nn.Module) -> Iterator[None]:
    """Take out of caches, after a capture of a model, what has no values; the rest stays.

    What is searched are the files in which the classes of its modules are written, and those that
    their names come from. A cache that was filled is empty again; a name that was changed has its
    old value.
    """
    spaces = [(owner, dict(vars(owner))) for owner in _owners(model)]
    try:
        yield
    finally:
        for owner, before in spaces:
            _restore(owner, before)


def _owners(model: nn.Module) -> list[Any]:
    """Files, the classes in them, and their objects: whatever has names that code can set."""
    classes = {base for module in model.modules() for base in type(module).__mro__}
    files = {name: None for cls in classes if (name := cls.__module__) in sys.modules}
    for name in [*files]:
        for value in [*vars(sys.modules[name]).values()]:
            files.setdefault(_origin(value))
    found: dict[int, Any] = {}
    for name in files:
        file = sys.modules.get(name)
        if file is None or _is_library(name):
            continue
        found[id(file)] = file
        for value in [*vars(file).values()]:
            if _has_names(value):
                found[id(value)] = value
    for cls in classes:  # classes within functions
        if not _is_library(cls.__module__):
            found[id(cls)] = cls
    return [*found.values()]


def _origin(value: Any) -> str:
    """The file that a name of another file comes from; '' if it cannot hold a cache."""
    if isinstance(value, ModuleType):
        return value.__name__
    held = isinstance(value, (type, FunctionType, _Cached))
    return str(value.__module__) if held else ""


def _has_names(value: Any) -> bool:
    """Whether a value is a class or an object with attributes of its own."""
    kind = value if isinstance(value, type) else type(value)
    if isinstance(value, (ModuleType, FunctionType)):
        return False
    if _is_library(kind.__module__) and kind is not SimpleNamespace:
        return False
    try:
        return isinstance(vars(value), Mapping)
    except Exception:  # a stand-in for something else may raise anything
        return False


def _is_library(name: Any) -> bool:
    return not isinstance(name, str) or name.partition(".")[0] in _LIBRARIES


def _restore(owner: Any, before: dict[str, Any]) -> None:
    for name, value in [*vars(owner).items()]:
        if not _is_empty(value):
            _clear(value, _DEPTH)
        elif name in before:
            setattr(owner, name, before[name])
        else:
            delattr(owner, name)


def _is_empty(value: Any) -> bool:
    """Whether a value is a tensor without values, or a few of them."""
    if isinstance(value, tuple):
        return any(map(_is_empty, value))
    return isinstance(value, (FakeTensor, FunctionalTensor))


def _clear(value: Any, depth: int) -> None:
    """Take tensors without values out of a cache, whatever it is kept in."""
    if depth == 0 or type(value) in _PLAIN:
        return
    if isinstance(value, FunctionType):
        _clear_function(value, depth - 1)
    elif isinstance(value, MutableMapping):
        for key, item in [*value.items()]:
            if _is_empty(item) or _is_empty(key):
                del value[key]
            else:
                _clear(item, depth - 1)
    elif isinstance(value, MutableSequence):
        if any(map(_is_empty, value)):
            value[:] = [item for item in value if not _is_empty(item)]
        for item in value:
            _clear(item, depth - 1)
    elif isinstance(value, MutableSet):
        for item in [item for item in value if _is_empty(item)]:
            value.discard(item)
    elif isinstance(value, _Cached):
        if any(_holds_empty(part, 3) for part in gc.get_referents(value)):
            value.cache_clear()
    elif isinstance(value, (staticmethod, classmethod)):
        _clear(value.__func__, depth)


def _clear_function(function: FunctionType, depth: int) -> None:
    """A function keeps caches in its defaults, its attributes, and its closure."""
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_set(cell)]
    for kept in (*defaults, vars(function), *cells):
        _clear(kept, depth)


def _is_set(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _holds_empty(part: Any, depth: int) -> bool:
    """Whether a part of a `lru_cache`, its table or a link of its chain, holds such a tensor."""
    if _is_empty(part) or depth == 0:
        return _is_empty(part)
    inner = part.values() if isinstance(part, dict) else ()
    links = gc.get_referents(part) if type(part).__name__ == "_lru_list_elem" else ()
    return any(_holds_empty(each, depth - 1) for each in (*inner, *links))
