"""What Python and the executor have to agree on; both sides are compared when it is loaded."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from convsmith.errors import ConvsmithError

__all__ = ["ARGUMENT", "CALL", "Abi", "declare", "read_abi"]

ARGUMENT = np.dtype(
    [
        ("base", "i4"), ("value", "i4"), ("offset", "i8"), ("extent", "i4", 4), ("stride", "i4", 4),
        ("size", "i4"),
    ],
    align=True,
)  # fmt: skip
"""An argument of a call, as `argument` in abi.h."""

CALL = np.dtype([("function", "u8"), ("first", "i4"), ("count", "i4")], align=True)
"""A call, as `call` in abi.h."""

_VERSION = 2
"""Raised on both sides with every change of meaning that no size would show."""


class Abi(NamedTuple):
    """What an executor says of itself, in the order of `convsmith_abi` in program.c.

    Attributes:
        version: of the meaning of fields and functions.
        busy: the status of a batch that was not run, for another call has the team.
        refused: that of a call with too many arguments or dimensions.
        max_arguments: of a call.
        max_bases: of an image of a batch.
        max_dims: of a buffer.
        argument: its bytes; then those before its fields from the second on.
        call: the same for a call.
    """

    version: int
    busy: int
    refused: int
    max_arguments: int
    max_bases: int
    max_dims: int
    argument: tuple[int, ...]
    call: tuple[int, ...]


def read_abi(executor: ctypes.CDLL, path: object) -> Abi:
    """What a loaded executor says of itself, once it is found to agree with this side.

    Args:
        executor: the shared object.
        path: where it came from, for the error.

    Raises:
        ConvsmithError: where the two sides do not agree.
    """
    expected = 6 + len(_layout(ARGUMENT)) + len(_layout(CALL))
    try:
        count = ctypes.c_int32.in_dll(executor, "convsmith_abi").value
    except ValueError:
        raise _mismatch(path, "it does not say what it expects") from None
    if count != expected:
        raise _mismatch(path, f"it gives {count} figures, not {expected}")
    _, *values = (ctypes.c_int32 * (1 + expected)).in_dll(executor, "convsmith_abi")
    version, busy, refused, arguments, bases, dims, *places = values
    end = len(_layout(ARGUMENT))
    abi = Abi(
        version, busy, refused, arguments, bases, dims, tuple(places[:end]), tuple(places[end:])
    )
    if abi.version != _VERSION:
        raise _mismatch(path, f"its version is {abi.version}, not {_VERSION}")
    for name, theirs, ours in (
        ("an argument", abi.argument, _layout(ARGUMENT)),
        ("a call", abi.call, _layout(CALL)),
    ):
        if theirs != ours:
            raise _mismatch(path, f"{name} lies in memory as {theirs}, not {ours}")
    return abi


def declare(executor: ctypes.CDLL) -> None:
    """Say what the functions of an executor take and give."""
    executor.convsmith_team.restype = ctypes.c_void_p
    executor.convsmith_team.argtypes = [ctypes.c_int32]
    executor.convsmith_team_free.argtypes = [ctypes.c_void_p]
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    executor.convsmith_run.argtypes = [pointer, pointer, number, number, pointer, pointer]
    executor.convsmith_run_batch.argtypes = [
        pointer, pointer, number, pointer, pointer, number, number, pointer,
    ]  # fmt: skip


def _layout(record: np.dtype[np.void]) -> tuple[int, ...]:
    """The bytes of a record, and those before its fields from the second on."""
    assert record.fields is not None
    _, *places = (field[1] for field in record.fields.values())
    return record.itemsize, *places


def _mismatch(path: object, why: str) -> ConvsmithError:
    return ConvsmithError(
        f"{path} does not fit this version of convsmith: {why}; "
        "remove it, or set CONVSMITH_CACHE to another folder"
    )
