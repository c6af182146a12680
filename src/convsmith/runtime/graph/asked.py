"""What C asks of PyTorch's tensors: their form, and where their values lie."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["asked", "form", "kept"]

Record = TypeVar("Record", bound=ctypes.Structure)

_ADDRESS, _NUMBER, _LONG = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64

_FUNCTIONS: dict[str, Any] = {
    "dim": _LONG,
    "sizes": ctypes.POINTER(_LONG),
    "strides": ctypes.POINTER(_LONG),
    "dtype": _NUMBER,
    "device_type": _NUMBER,
    "layout": _NUMBER,
}
_CODES = ("dtype_float32", "device_type_cpu", "layout_strided")


class _Asked(ctypes.Structure):
    """As `asked` in tensors.h."""

    _fields_ = [
        *((name, _ADDRESS) for name in (*_FUNCTIONS, "address")),
        *((name, _NUMBER) for name in ("place", *_CODES)),
    ]


def form(tensor: Tensor) -> list[int]:
    """Its dimensions, sizes and strides, as `has_form` in tensors.h takes them."""
    return [tensor.dim(), *tensor.shape, *tensor.stride()]


def asked() -> int:
    """The address of what C needs to know of PyTorch; 0 where this version has it not.

    Each function is tried, and so is the place where Python's object of a tensor holds it.
    """
    found = _asked()
    return ctypes.addressof(found) if found is not None else 0


@cache
def _asked() -> _Asked | None:
    library = ctypes.CDLL(torch._C.__file__)
    address = getattr(torch._C._dynamo.guards, "_torchinductor_pyobject_tensor_data_ptr", 0)
    try:
        functions = [getattr(library, f"aoti_torch_get_{name}") for name in _FUNCTIONS]
        codes = [getattr(library, f"aoti_torch_{name}")() for name in _CODES]
    except AttributeError:
        return None
    # What one object holds by chance, others do not.
    probes = [
        torch.zeros(2, 3, 5, dtype=torch.float32, device="cpu").transpose(0, 2)[count:]
        for count in range(4)
    ]
    probes.append(torch.nn.Parameter(probes[1]))
    place = _place(probes)
    if not place or not isinstance(address, int) or not address:
        return None
    to_address = ctypes.PYFUNCTYPE(_ADDRESS, ctypes.py_object)(address)
    for probe in probes:
        expected = [*form(probe), *codes]
        if _answers(functions, probe) != expected or to_address(probe) != probe.data_ptr():
            return None
    addresses = [ctypes.cast(function, _ADDRESS).value for function in functions]
    return kept(_Asked(*addresses, address, place, *codes))


def kept(record: Record) -> Record:
    """A record that C reads, also when Python has put its modules away: it stays for good."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(record))
    return record


def _place(tensors: Sequence[Tensor]) -> int:
    """How many bytes after the beginning of their objects tensors' pointers are held; or 0."""
    for place in range(object.__basicsize__, Tensor.__basicsize__, ctypes.sizeof(_ADDRESS)):
        if all(_ADDRESS.from_address(id(t) + place).value == t._cdata for t in tensors):
            return place
    return 0


def _answers(functions: Sequence[Any], tensor: Tensor) -> list[int]:
    """What functions say of a tensor, in the order of `form`, and its type, device and layout."""
    held, answers = _ADDRESS(tensor._cdata), array("q")
    for function, kind in zip(functions, _FUNCTIONS.values(), strict=True):
        value: Any = kind()
        if function(ctypes.byref(held), ctypes.byref(value)):
            return []
        answers.extend(value[: tensor.dim()] if hasattr(value, "contents") else [value.value])
    return answers.tolist()
