"""A second set of a model's modules, on the same tensors: what is traced in the model's place.

Capturing a model swaps its parameters, sets its flags and lets its code store what it computes.
Done to a copy, none of this is ever seen by the user, nor by another thread that uses the model
meanwhile.
"""

from __future__ import annotations

import sys
import weakref
from argparse import Namespace
from collections import OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable
from functools import partial
from threading import local
from types import CellType, FunctionType, MethodType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ["HOLDERS", "LIBRARIES", "shadow", "slots"]

# A class with an attribute `shared_by_shadows` is shared, too: its instances are safe to share.
LIBRARIES = frozenset({*sys.stdlib_module_names, "numpy", "torch"})
"""Where classes come from whose instances are shared: locks, files, types, streams, arrays."""


HOLDERS = (SimpleNamespace, Namespace, UserDict, UserList)
"""Classes of the standard library that only hold what a user has put there."""


def shadow(model: nn.Module) -> nn.Module:
    """Copy a model's modules, but none of its tensors.

    Modules, containers, bound methods, closures and plain objects that modules hold are copied, so
    that nothing a forward pass stores (a cached grid, a list of features) reaches the original.
    Parameters and buffers are the very same tensors, under the same names. Compiled TorchScript is
    shared: it cannot be copied in parts.

    Returns:
        The copy, in evaluation mode.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout())
    >>> copied = shadow(model)
    >>> copied[0] is model[0], copied[0].weight is model[0].weight
    (False, True)
    >>> copied.training, model.training
    (False, True)
    """
    copied: nn.Module = _Copier()(model)
    for module in copied.modules():
        if not isinstance(module, torch.jit.ScriptModule):
            module.training = False
    return copied


class _Copier:
    """Copies values that refer to each other; each one once."""

    def __init__(self) -> None:
        self._copies: dict[int, Any] = {}
        self._kept: list[Any] = []  # an identity is free again once its object is gone

    def __call__(self, value: Any) -> Any:
        if id(value) in self._copies:
            return self._copies[id(value)]
        rule = self._rule(value)
        return value if rule is None else rule(value)

    def _rule(self, value: Any) -> Callable[[Any], Any] | None:
        kind = type(value)
        if isinstance(value, Tensor):
            return self._uninitialised if is_lazy(value) else None
        if isinstance(value, (torch.jit.ScriptModule, type)) or hasattr(kind, "shared_by_shadows"):
            return None
        if isinstance(value, nn.Module):
            return self._instance
        if isinstance(value, HOLDERS):
            return self._holder
        if rule := _CONTAINERS.get(kind):
            return partial(rule, self)
        if isinstance(value, tuple):
            return self._tuple
        library = kind.__module__.partition(".")[0] in LIBRARIES
        holds = hasattr(value, "__dict__") or slots(kind)
        return self._instance if holds and not library else None

    def _remember(self, value: Any, copied: Any) -> Any:
        self._copies[id(value)] = copied
        self._kept.append(value)
        return copied

    def _instance(self, value: Any) -> Any:
        try:
            copied = self._remember(value, object.__new__(type(value)))
        except TypeError:  # a class written in C makes its own instances
            return value
        for name in slots(type(value)):
            if hasattr(value, name):
                object.__setattr__(copied, name, self(getattr(value, name)))
        if hasattr(value, "__dict__"):
            copied.__dict__.update({name: self(item) for name, item in vars(value).items()})
        return copied

    def _holder(self, value: Any) -> Any:
        kind: Any = type(value)
        copied = self._remember(value, kind.__new__(kind))
        copied.__dict__.update({name: self(item) for name, item in vars(value).items()})
        return copied

    def _uninitialised(self, value: Any) -> Any:
        """A lazy parameter gets its memory in place: the copy may, the original may not."""
        copied = type(value)(requires_grad=value.requires_grad, device=value.device)
        return self._remember(value, copied)

    def _dict(self, value: dict[Any, Any]) -> Any:
        copied = self._remember(value, value.copy())
        copied.clear()
        copied.update({self(key): self(item) for key, item in value.items()})
        return copied

    def _list(self, value: Any) -> Any:
        copied = self._remember(value, value.copy())
        copied.clear()
        copied.extend(map(self, value))
        return copied

    def _set(self, value: set[Any]) -> Any:
        return self._remember(value, set(map(self, value)))

    def _tuple(self, value: tuple[Any, ...]) -> Any:
        items = tuple(map(self, value))
        if all(a is b for a, b in zip(items, value, strict=True)):
            return value
        named = hasattr(value, "_fields")
        return self._remember(value, type(value)(*items) if named else type(value)(items))

    def _method(self, value: MethodType) -> Any:
        owner = self(value.__self__)
        return value if owner is value.__self__ else MethodType(value.__func__, owner)

    def _partial(self, value: Any) -> Any:
        return partial(self(value.func), *map(self, value.args), **self._dict(value.keywords))

    def _local(self, value: Any) -> Any:
        """What this thread stores; what others do is out of reach, and not needed."""
        copied = self._remember(value, local())
        copied.__dict__.update({name: self(item) for name, item in vars(value).items()})
        return copied

    def _reference(self, value: Any) -> Any:
        target = value()
        copied = target if target is None else self(target)
        return value if copied is target else weakref.ref(copied)

    def _function(self, value: FunctionType) -> Any:
        """A function whose closure holds something that is copied; others stay what they are."""
        cells = value.__closure__
        if not cells:
            return value
        empty = tuple(CellType() for _ in cells)
        copied = FunctionType(
            value.__code__, value.__globals__, value.__name__, value.__defaults__, empty
        )
        self._remember(value, copied)  # before its cells: a closure may hold the function itself
        changed = False
        for cell, own in zip(cells, empty, strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            own.cell_contents = self(content)
            changed = changed or (own.cell_contents is not content and content is not value)
        if not changed:
            return self._remember(value, value)
        copied.__kwdefaults__ = value.__kwdefaults__
        copied.__dict__.update(vars(value))
        return copied


def slots(kind: type) -> list[str]:
    """The names of the values that instances of a class keep in slots.

    >>> class Point:
    ...     __slots__ = ("x", "y")
    >>> slots(Point)
    ['x', 'y']
    """
    declared = (vars(base).get("__slots__", ()) for base in kind.__mro__)
    names = (name for own in declared for name in ((own,) if isinstance(own, str) else own))
    return [name for name in names if name not in ("__dict__", "__weakref__")]


_CONTAINERS: dict[type, Callable[[_Copier, Any], Any]] = {
    OrderedDict: _Copier._dict,
    FunctionType: _Copier._function,
    MethodType: _Copier._method,
    defaultdict: _Copier._dict,
    deque: _Copier._list,
    dict: _Copier._dict,
    list: _Copier._list,
    local: _Copier._local,
    partial: _Copier._partial,
    set: _Copier._set,
    weakref.ReferenceType: _Copier._reference,
}
