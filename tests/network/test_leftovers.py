"""Models that fill a cache as they run, 23 of them: reading leaves every cache as it was."""

from __future__ import annotations

import collections
import functools
import threading
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

import convsmith as cs
from convsmith.network import leftovers
from tests.zoo.observing import state

TABLE, TABLES = {}, {"grids": {}}
ROWS = []
GRID = None
HOLDER = SimpleNamespace(grid=None)


def line(n):
    return torch.linspace(1, 2, n)


class Holder:
    grid = None


OBJECT = Holder()


@functools.cache
def cached(n):
    return line(n)


@functools.lru_cache(maxsize=4)
def cached_pair(n):
    return line(n), line(n)


def by_default(n, *, kept={}):  # noqa: B006
    return kept.setdefault(n, line(n))


def by_attribute(n):
    by_attribute.kept = getattr(by_attribute, "kept", {})
    return by_attribute.kept.setdefault(n, line(n))


def by_closure():
    kept = {}
    return lambda n: kept.setdefault(n, line(n))


closed = by_closure()


def by_global(n):
    global GRID
    GRID = line(n) if GRID is None else GRID
    return GRID


def by_list(n):
    if not ROWS:
        ROWS.append(line(n))
    return ROWS[0]


def of_object(holder, n):
    if holder.grid is None:
        holder.grid = line(n)
    return holder.grid


def of_module(s, n):
    if not hasattr(s, "grid"):
        s.grid = line(n)
    return s.grid


def of_buffer(s, n):
    if not hasattr(s, "grid"):
        s.register_buffer("grid", line(n), persistent=False)
    return s.grid


def of_class(s, n):
    if not hasattr(type(s), "grid"):
        type(s).grid = line(n)
    return type(s).grid


def of_layer(s, n):
    if not hasattr(s, "late"):
        s.late = nn.Conv2d(3, 3, 1)
    return s.late.weight.new_ones(n) * 1.5


def of_queue(s, n):
    if not s.queue:
        s.queue.append((n, line(n)))
    return s.queue[0][1]


CACHES = {
    "an attribute": of_module,
    "a buffer": of_buffer,
    "a layer": of_layer,
    "an attribute of the class": of_class,
    "a dict of the class": lambda s, n: s.by_class.setdefault(n, line(n)),
    "a dict of the module": lambda s, n: s.kept.setdefault(n, line(n)),
    "a dict within a dict": lambda s, n: s.kept.setdefault("grids", {}).setdefault(n, line(n)),
    "a queue": of_queue,
    "an object": lambda s, n: of_object(s.held, n),
    "a closure of the module": lambda s, n: s.closed(n),
    "a partial": lambda s, n: s.partial(n, line(n)),
    "a thread's own": lambda s, n: vars(s.local).setdefault(n, line(n)),
    "a method's cache": lambda s, n: s.cached(n),
    "a global dict": lambda s, n: TABLE.setdefault(n, line(n)),
    "a global dict of dicts": lambda s, n: TABLES["grids"].setdefault(n, line(n)),
    "a global name": lambda s, n: by_global(n),
    "a global list": lambda s, n: by_list(n),
    "a global object": lambda s, n: of_object(OBJECT, n) + 0 * of_object(HOLDER, n),
    "a cached function": lambda s, n: cached(n),
    "a bounded cache of pairs": lambda s, n: cached_pair(n)[1],
    "a default": lambda s, n: by_default(n),
    "an attribute of a function": lambda s, n: by_attribute(n),
    "a global closure": lambda s, n: closed(n),
}


def network(cache):
    class Net(nn.Module):
        by_class: ClassVar = {}

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.kept, self.queue, self.held = {}, collections.deque(), Holder()
            self.closed, self.local = by_closure(), threading.local()
            self.partial = functools.partial(dict.setdefault, {})

        @functools.cache  # noqa: B019
        def cached(self, n):
            return line(n)

        def forward(self, x):
            return self.conv(x) * cache(self, x.shape[-1])

    return Net()


def is_real(value):
    return not isinstance(value, FakeTensor)


@pytest.mark.parametrize("name", CACHES)
def test_no_cache_keeps_a_tensor_without_values(name):
    model = network(CACHES[name])
    before = state(model)
    report = cs.inspect(model, (1, 3, 5, 7))
    assert report.memory is not None and report.sizes() is not None
    assert state(model) == before
    x = torch.rand(1, 3, 5, 7)
    expected = torch.nn.functional.conv2d(x, model.conv.weight, model.conv.bias, padding=1)
    for _ in range(2):  # the first call fills the cache
        result = model(x)
        assert is_real(result) and torch.allclose(
            result, expected * (1.5 if name == "a layer" else line(7))
        )
    cs.inspect(model, (1, 3, 5, 7))
    assert torch.equal(model(x), result), "what a user's call has filled stays"


def test_libraries_are_not_searched():
    """This file names pytest and torch, whose classes number hundreds."""
    owners = leftovers._owners(network(CACHES["a global dict"]))
    found = [vars(owner).get("__module__", type(owner).__module__) for owner in owners]
    assert __name__ in found and not {
        name for name in found if name.startswith(("_pytest", "typing"))
    }


def test_what_was_there_stays():
    grid = TABLE["mine"] = torch.ones(7)
    TABLES["other"] = [1, 2]
    cs.inspect(network(CACHES["a global dict"]), (1, 3, 5, 9))
    assert TABLE["mine"] is grid and TABLES["other"] == [1, 2] and 9 not in TABLE


def test_a_capture_that_fails_leaves_nothing_either():
    def broken(s, n):
        TABLE.setdefault(("broken", n), line(n))
        raise ValueError("broken")

    with pytest.raises(cs.ConvsmithError, match="broken"):
        cs.trace(network(broken), (1, 3, 5, 7))
    assert not any(isinstance(key, tuple) for key in TABLE)
