"""Objects that a model may hold beside its modules: each holds the factor 1, then another one."""

from __future__ import annotations

import argparse
import collections
import dataclasses
from array import array
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["HOLDERS", "Held", "Holder"]


@dataclasses.dataclass(slots=True)
class _Slotted:
    factor: Any = 1.0


class _Plain:
    factor: Any = 1.0

    def __init__(self) -> None:
        self.factor = 1.0


@dataclasses.dataclass(frozen=True)
class Holder:
    """A kind of object: how it is made, how its factor is read, and how that is changed."""

    make: Callable[[], Any]
    factor: Callable[[Any], Any]
    change: Callable[[Any], Any]


def _attribute(make: Callable[[], Any]) -> Holder:
    return Holder(make, lambda held: held.factor, lambda held: setattr(held, "factor", 3.0))


def _item(make: Callable[[], Any], place: Any = 0, value: Any = 3) -> Holder:
    return Holder(make, lambda held: held[place], lambda held: held.__setitem__(place, value))


def _write(tensor: Tensor) -> None:
    tensor.data.mul_(3)


HOLDERS = {
    "an object": _attribute(_Plain),
    "slots": _attribute(_Slotted),
    "SimpleNamespace": _attribute(lambda: SimpleNamespace(factor=1.0)),
    "Namespace": _attribute(lambda: argparse.Namespace(factor=1.0)),
    "partial": Holder(
        lambda: partial(dict, factor=1.0),
        lambda held: held()["factor"],
        lambda held: held.keywords.update(factor=3.0),
    ),
    "list": _item(lambda: [1.0]),
    "a longer list": Holder(lambda: [1.0], sum, lambda held: held.append(2.0)),
    "deque": _item(lambda: collections.deque([1.0])),
    "set": Holder(lambda: {1.0}, sum, lambda held: held.add(2.0)),
    "dict": _item(lambda: {"a": 1.0}, "a"),
    "OrderedDict": _item(lambda: collections.OrderedDict(a=1.0), "a"),
    "UserDict": _item(lambda: collections.UserDict(a=1.0), "a"),
    "UserList": _item(lambda: collections.UserList([1.0])),
    "a dict in a tuple": Holder(
        lambda: ({"a": 1.0},), lambda held: held[0]["a"], lambda held: held[0].update(a=3.0)
    ),
    "bytearray": _item(lambda: bytearray(b"\1")),
    "array": _item(lambda: array("f", [1.0])),
    "ndarray": Holder(
        lambda: np.ones(1, np.float32),
        lambda held: float(held[0]),
        lambda held: held.__setitem__(0, 3),
    ),
    "ndarray as tensor": Holder(
        lambda: np.ones(1, np.float32), torch.from_numpy, lambda held: held.__setitem__(0, 3)
    ),
    "a tensor": Holder(lambda: torch.ones(1), lambda held: held, _write),
    "a tensor as number": Holder(lambda: torch.ones(1), float, _write),
    "a tensor in a list": Holder(
        lambda: [torch.ones(1)], lambda held: held[0], lambda held: _write(held[0])
    ),
    "a tensor in an object": Holder(
        lambda: SimpleNamespace(factor=torch.ones(1)),
        lambda held: held.factor,
        lambda held: _write(held.factor),
    ),
    "a layer in a list": Holder(
        lambda: [nn.PReLU(init=1.0)],
        lambda held: held[0].weight,
        lambda held: _write(held[0].weight),
    ),
}
"""By name."""


class Held(nn.Module):
    """A convolution times what is held."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv, self.held = nn.Conv2d(4, 8, 3), HOLDERS[name].make()
        self.factor = HOLDERS[name].factor

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.factor(self.held)
