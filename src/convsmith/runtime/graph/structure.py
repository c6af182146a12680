"""Of which parts a model is made: its modules, and what these hold, each by its identity."""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.runtime.graph.held import Slots, is_array, is_open, sampled

__all__ = ["Structure"]

Entries = Callable[[list[dict[Any, Any]], "array[int]"], Any]
"""One value for all entries of some dictionaries, which are also given by their addresses."""

_HELD = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")
_MODULE = frozenset(vars(nn.Module())) - set(_HELD)
"""Attributes that every module has and that decide nothing in evaluation mode."""
_VALUES = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


class Structure:
    """What modules hold: parameters, buffers, submodules, hooks, and all of their attributes.

    Containers and plain objects among the attributes are looked into; of large NumPy arrays, some
    values. Not seen is what lies outside of the modules: globals, closures, a module's class and
    its methods.

    Args:
        root: a module, or a dictionary of tensors.
        entries: gives one value for all entries of dictionaries.

    Attributes:
        places: the addresses of the dictionaries that hold it all.
        entries: one value for all entries of these, as they were.

    >>> from convsmith.kernels.watching import InPython
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1))
    >>> structure = Structure(net, InPython().entries)
    >>> net[0].padding = (0, 0)
    >>> structure.changed
    True
    """

    def __init__(self, root: Any, entries: Entries) -> None:
        self._root, self._look = root, entries
        self._dicts: list[dict[Any, Any]] = []
        self._lists: list[list[Any] | set[Any] | deque[Any] | Slots] = []
        self._arrays: list[Any] = []
        self._compiled: list[tuple[Any, Any]] = []
        self._modules: dict[int, nn.Module] = {}
        self._visit(root, set())
        self._ignored: set[tuple[int, Any]] = set()
        self.places = array("Q", map(id, self._dicts))
        self._note()

    @property
    def in_dictionaries(self) -> bool:
        """Whether `entries` says all of it."""
        return not (self._lists or self._arrays or self._compiled)

    @property
    def tensors(self) -> Iterator[Tensor]:
        """All tensors that are held."""
        held = chain.from_iterable(map(dict.values, self._dicts))
        return (v for v in chain(held, *self._lists) if isinstance(v, Tensor))

    @property
    def changed(self) -> bool:
        """Whether anything is another object now; numbers and text may be equal ones."""
        if self._compiled and not self._same_compiled():
            return True
        same = self._look(self._dicts, self.places) == self.entries
        if same and (not self._lists or self._same_lists()) and self._same_arrays():
            return False
        if not self._same():
            return True
        self._note()
        return False

    def ignore(self, stored: set[tuple[int, str]]) -> None:
        """Ignore attributes from now on: the number of a module among all, and the name."""
        modules = list(self._root.modules())
        self._ignored = {(id(modules[n]), name) for n, name in stored if name not in _HELD}

    def _visit(self, value: Any, seen: set[int]) -> None:
        shared = hasattr(type(value), "shared_by_shadows")
        if hasattr(type(value), "take_over") and id(value) not in seen:
            seen.add(id(value))
            value.take_over()
            self._compiled.append((value, value.current))
        if shared or id(value) in seen or isinstance(value, (Tensor, type, *_VALUES)):
            return
        seen.add(id(value))
        if isinstance(value, nn.Module):
            self._modules[id(value)] = value
            self._dicts.append(vars(value))
            for name, item in vars(value).items():
                if name not in _MODULE:
                    self._visit(item, seen)
        elif isinstance(value, dict):
            self._dicts.append(value)
            for item in list(value.values()):
                self._visit(item, seen)
        elif isinstance(value, (list, set, deque)):
            self._lists.append(value)
            for item in value:
                self._visit(item, seen)
        elif isinstance(value, (tuple, frozenset)):
            for item in value:
                self._visit(item, seen)
        elif is_array(value):
            self._arrays.append(value)
        elif isinstance(value, partial):
            self._visit((value.args, value.keywords), seen)
        elif is_open(value):
            self._visit(getattr(value, "__dict__", None), seen)
            if slots := Slots(value):
                self._lists.append(slots)
                for item in slots:
                    self._visit(item, seen)

    def _note(self) -> None:
        # Kept: the address of an object that is gone may be another one's.
        self._kept = [dict(each) for each in self._dicts]
        self._items = [list(each) for each in self._lists]
        self._flat = list(chain(*self._items))
        self._bits = list(map(sampled, self._arrays))
        self.entries = self._look(self._dicts, self.places)

    def _same_lists(self) -> bool:
        return sum(map(len, self._lists)) == len(self._flat) and all(
            map(is_, chain.from_iterable(self._lists), self._flat)
        )

    def _same_compiled(self) -> bool:
        """Whether what was compiled before, and is a part now, computes what it did."""
        return all(each.current is before for each, before in self._compiled)

    def _same_arrays(self) -> bool:
        return not self._arrays or list(map(sampled, self._arrays)) == self._bits

    def _same(self) -> bool:
        """Whether all that differs is equal, or is ignored."""
        owners = defaultdict(int, {id(vars(m)): id(m) for m in self._modules.values()})
        return (
            all(
                _same_items(now, before, owners[id(now)], self._ignored)
                for now, before in zip(self._dicts, self._kept, strict=True)
            )
            and all(
                len(now) == len(before) and all(map(_equal, before, now))
                for now, before in zip(self._lists, self._items, strict=True)
            )
            and self._same_arrays()
        )


def _same_items(
    now: Mapping[Any, Any], before: Mapping[Any, Any], owner: int, ignored: set[tuple[int, Any]]
) -> bool:
    return all(
        (owner and (name in _MODULE or (owner, name) in ignored))
        or (name in now and name in before and _equal(before[name], now[name]))
        for name in (*now, *(name for name in before if name not in now))
    )


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, _VALUES) and bool(one == other)
