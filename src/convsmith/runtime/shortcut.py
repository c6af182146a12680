"""Calls of a compiled network in C, for tensors of a form that Python has served before."""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from convsmith.runtime.execution.room import LARGE, small
from convsmith.runtime.graph.asked import asked, form, kept

if TYPE_CHECKING:
    from convsmith.runtime.execution.region import Region
    from convsmith.runtime.graph.source import Source
    from convsmith.runtime.graph.watch import Watch

__all__ = ["Shortcut", "shortcut"]

Shortcut = Callable[..., Any]
"""Gives the output for tensors; `NotImplemented` where they, or the model, have to be looked at."""

_ADDRESS, _NUMBER = ctypes.c_void_p, ctypes.c_int32

_PYTHON = (
    "PyObject_Type", "PyObject_GetAttr", "PyTuple_GetItem", "PyObject_CallOneArg",
    "PyLong_AsVoidPtr", "Py_IncRef", "Py_DecRef", "PyErr_Clear", "PyEval_SaveThread",
    "PyEval_RestoreThread", "PyDict_Next",
)  # fmt: skip
_OBJECTS = ("_version", Tensor, nn.Parameter, Tensor.is_neg, True, NotImplemented)


class _Host(ctypes.Structure):
    """As `host` in shortcut.c."""

    _fields_ = [
        *((name, _ADDRESS) for name in (*_PYTHON, "asked")),
        *((f"object_{place}", _ADDRESS) for place in range(len(_OBJECTS))),
    ]


class _Record(ctypes.Structure):
    """As `shortcut` in shortcut.c."""

    _fields_ = [
        ("forms", _ADDRESS), ("steps", _ADDRESS), ("inputs", _NUMBER), ("images", _NUMBER),
        *((name, _ADDRESS) for name in (
            "team", "calls", "arguments", "memory", "weights", "empty", "shape"
        )),
        ("length", _NUMBER), ("threads", _NUMBER),
        ("dicts", _ADDRESS), ("entries", ctypes.c_uint64),
        *((name, _NUMBER) for name in ("dict_count", "tag", "follow")),
        *((name, _ADDRESS) for name in ("counted", "counts", "seen", "turns", "stale")),
        *((name, _NUMBER) for name in (
            "counted_count", "turn_count", "turn_now", "process", "busy"
        )),
    ]  # fmt: skip


class _Method(ctypes.Structure):
    """As `PyMethodDef` of Python's stable interface."""

    _fields_ = [
        ("name", ctypes.c_char_p), ("function", _ADDRESS), ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]  # fmt: skip


_FASTCALL = 0x0080


def shortcut(
    region: Region, tensors: Sequence[Tensor], watched: tuple[Source, Watch] | None
) -> Shortcut | None:
    """What computes a region that is a whole network, for tensors of the form of these.

    None where the form, the machine or this version of PyTorch is none that it can be done for.

    Args:
        region: takes these tensors, and has served them.
        tensors: its inputs.
        watched: unless nothing may change: what the model is, and what watches its weights.
    """
    library, view, threads = region.library, region.tensors, region.team.threads
    images = view.images(tensors[0])
    method = _method(library.executor) if library.executor is not None else None
    if method is None or (images > 1 and threads > 1) or not images:
        return None
    assert library.abi is not None
    if len(tensors) + 3 > library.abi.max_bases:  # memory, weights, output
        return None
    if len(region.outputs) > 1 or not all(map(Tensor.is_contiguous, tensors)):
        return None
    source, watch = watched if watched is not None else (None, None)
    if watch is not None and not watch.seen.at:
        return None
    sized = region.sized(tensors)
    shape = view.result(images, sized.results[0])
    if 4 * prod(shape) >= LARGE:
        return None
    forms = array("q", chain.from_iterable(map(form, tensors)))
    steps = array("q", [4 * n for n in (*(t.stride(0) for t in tensors), prod(shape[1:]))])
    memory, code = sized.take(), sized.program.where
    record = _Record(
        forms=forms.buffer_info()[0], steps=steps.buffer_info()[0],
        inputs=len(tensors), images=images,
        team=region.team.address(library), calls=code[0], arguments=code[3], memory=memory[0],
        weights=region.constants.address, empty=id(small), shape=id(shape),
        length=code[1], threads=code[2], process=os.getpid(),
    )  # fmt: skip
    held: list[Any] = [method, record, forms, steps, sized, memory, region, small, shape, watched]
    if source is not None and source.in_dictionaries:
        structure = source.structure
        held.append(structure.places)
        record.dicts, record.dict_count = structure.places.buffer_info()
        record.entries, record.tag = structure.entries, library.watching.tag
        record.follow = not record.tag
    if watch is not None:
        flat = array("i", [number for turn in watch.turns for number in turn])
        counted = array("Q", [] if watch.sees_all else map(id, watch.counted))
        counts = array("q", watch.counts)
        held += [flat, counted, counts]
        record.turns, record.turn_count = flat.buffer_info()[0], len(watch.turns)
        record.counted, record.counted_count = counted.buffer_info()
        record.counts, record.seen = counts.buffer_info()[0], watch.seen.at
        record.stale = watch.stale.buffer_info()[0]
    made: Shortcut = _new(ctypes.byref(method), (ctypes.addressof(record), *held), None)
    if source is None or source.in_dictionaries:
        return made
    # C looks into dictionaries alone.
    return lambda *tensors: NotImplemented if source.changed else made(*tensors)


_new = ctypes.pythonapi.PyCFunction_NewEx
_new.argtypes = [ctypes.POINTER(_Method), ctypes.py_object, ctypes.py_object]
_new.restype = ctypes.py_object


@cache
def _method(executor: ctypes.CDLL) -> _Method | None:
    """How Python calls an executor's function, which knows those of Python and PyTorch then."""
    host = _host()
    if host is None:
        return None
    executor.convsmith_shortcuts_in(ctypes.byref(host))
    function = ctypes.cast(executor.convsmith_shortcut, _ADDRESS)
    return kept(_Method(b"shortcut", function, _FASTCALL, None))


@cache
def _host() -> _Host | None:
    """What a shortcut calls; None where this version of Python or PyTorch lacks some of it."""
    by_c = asked()
    if not by_c or not all(hasattr(ctypes.pythonapi, name) for name in _PYTHON):
        return None
    addresses = [ctypes.cast(getattr(ctypes.pythonapi, n), _ADDRESS).value for n in _PYTHON]
    return kept(_Host(*addresses, by_c, *map(id, _OBJECTS)))
