"""A program of `torch.export.save`, inspected before torch loads it.

torch's own loader unpickles, imports, and evaluates strings that it finds in the archive, and
opens compiled libraries; and an operator of torch can open a file. So the archive is first read as
data, with torch's reader, and refused unless everything in it is a tensor, an operator that only
computes, or plain arithmetic on sizes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from convsmith.errors import ModelError, first_line, no_file
from convsmith.machine import memory
from convsmith.network.stored.expressions import is_arithmetic
from convsmith.network.stored.operators import refusal
from convsmith.text import times

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["check_program", "load_program", "program_from"]

_FORCE, _FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def load_program(path: str | Path) -> ExportedProgram:
    """Load an exported program without running anything that the file contains.

    Raises:
        ModelError: if the file is missing, is not an archive of this torch, or holds pickled
            objects, compiled libraries, or anything else that could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(no_file(path, "*.pt2"))
    return _load(lambda: str(path), path.stat().st_size, str(path))


def program_from(content: bytes, name: str) -> ExportedProgram:
    """Load an exported program that another process has sent, judged like one in a file.

    Args:
        content: what `torch.export.save` wrote.
        name: for messages.

    Raises:
        ModelError: as `load_program`.
    """
    return _load(lambda: BytesIO(content), len(content), name)


def check_program(content: bytes, name: str) -> None:
    """Refuse what `program_from` would refuse, without loading it.

    Raises:
        ModelError: naming what may not be in it.
    """
    with _refusals(name):
        _vet(BytesIO(content), len(content), name)


def _load(opened: Callable[[], Any], size: int, name: str) -> ExportedProgram:
    from torch.export.pt2_archive._package import load_pt2

    with _refusals(name):
        _vet(opened(), size, name)
        with _tensors_only():
            program = load_pt2(opened()).exported_programs["model"]
    # Checks on the inputs in Python, which torch would compile: the program is the same without.
    program._guards_code = []
    return program


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turn what torch raises for a broken archive into one line."""
    try:
        yield
    except ModelError:
        raise
    except UnpicklingError as error:
        raise ModelError(
            f"{name} holds pickled objects and is not opened: save a program whose inputs and "
            "constants are tensors and numbers"
        ) from error
    except Exception as error:
        raise ModelError(
            f"{name} was not written by torch.export.save: {first_line(error)}"
        ) from error


def _vet(opened: Any, size: int, name: str) -> None:
    """Refuse an archive that holds anything but tensors, operators on them, and sizes."""
    from torch.export.pt2_archive import PT2ArchiveReader
    from torch.export.pt2_archive import constants as names

    with PT2ArchiveReader(opened) as archive:
        files = archive.get_file_names()
        lengths = {file: archive.archive_file.get_record_size(file) for file in files}
        _check_room(name, size, lengths)
        if any(file.startswith(names.AOTINDUCTOR_DIR) for file in files):
            raise ModelError(
                f"{name} holds compiled code, which is not loaded: write it with "
                "torch.export.save instead"
            )
        for file in files:
            if file.endswith(".pt"):
                _check_inner(name, file, archive.read_bytes(file))
            elif file.endswith(".json"):
                document = json.loads(archive.read_string(file))
                if file.startswith((names.CONSTANTS_DIR, names.WEIGHTS_DIR)):
                    _check_payloads(name, document, names)
                    _check_bytes(name, document, lengths, Path(file).parent)
                _check_document(name, document)


def _check_room(path: str, size: int, sizes: Mapping[str, int]) -> None:
    """Refuse compressed members: torch writes none, and a small file could unpack to terabytes."""
    if sum(sizes.values()) > size:
        raise ModelError(
            f"{path} is not opened: it would unpack to {sum(sizes.values()):,} bytes, more than "
            "the file holds"
        )


def _check_inner(path: str, file: str, content: bytes) -> None:
    """Judge an archive within the archive, such as the example inputs, by the same rule."""
    if not content.startswith(b"PK"):
        return
    with ZipFile(BytesIO(content)) as inner:
        unpacked = sum(member.file_size for member in inner.infolist())
    if unpacked > len(content):
        raise ModelError(
            f"{path} is not opened: its {file} would unpack to {unpacked:,} bytes, more than it "
            "holds"
        )


def _check_payloads(path: str, document: Any, names: Any) -> None:
    for name, payload in document["config"].items():
        record = str(payload["path_name"])
        # Weights and constants share their format, and both may be tensors only.
        if record.startswith(names.CUSTOM_OBJ_FILENAME_PREFIX) or not record.startswith(
            (names.TENSOR_CONSTANT_FILENAME_PREFIX, names.WEIGHT_FILENAME_PREFIX)
        ):
            raise ModelError(f"{path} holds a custom object, which is not unpickled")
        if "/" in record or not isinstance(name, str):
            raise ModelError(f"{path} is not opened: {record!r} is not the name of a tensor")


def _check_bytes(path: str, document: Any, lengths: Mapping[str, int], folder: Path) -> None:
    """Refuse an empty record for a tensor that has values: torch would make zeros of any size."""
    for payload in document["config"].values():
        record = str(payload["path_name"])
        meta = payload["tensor_meta"]
        if meta is None or lengths.get((folder / record).as_posix(), 0):
            continue
        if not any(size.get("as_int") == 0 for size in meta["sizes"]):
            raise ModelError(f"{path} is not opened: its tensor {record!r} is empty")


def _check_document(path: str, document: Any) -> None:
    devices = set()
    for key, value in _entries(document):
        if key == "sizes":
            _check_size(path, value)
        elif key in ("device", "as_device") and isinstance(value, dict):
            devices.add(str(value.get("type")))
        elif key == "operator":
            if reason := refusal(value):
                raise ModelError(f"{path} is not opened: {value[:80]!r} {reason}")
        elif not _is_harmless(key, value):
            raise ModelError(f"{path} is not opened: {str(value)[:80]!r} could run code")
    if "meta" in devices or len(devices) > 1:
        kinds = " and ".join(sorted(devices))
        raise ModelError(f"{path} is not opened: its tensors are on {kinds}, expected one device")


def _check_size(path: str, sizes: Any) -> None:
    """Refuse a tensor that could not be made here, before anything asks for its memory."""
    numbers = [size.get("as_int") for size in sizes if isinstance(size, dict)]
    known = [size for size in numbers if isinstance(size, int)]
    if math.prod(known) > memory() or any(size < 0 for size in known):
        raise ModelError(
            f"{path} declares a tensor of {times(known)} values, more than this machine has bytes "
            "of memory: it is not opened"
        )


def _entries(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what an archive's JSON says that has to be judged, each under its key.

    Every string comes under "size" or ""; a string that holds JSON is read as that JSON. What
    names a function comes under "operator", as sizes and devices come under their own keys.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            yield "", str(name)
            if name in ("sizes", "device", "as_device"):
                yield name, item
            if name == "as_operator":
                yield "operator", str(item)
            yield from _entries(item, _KEYS.get(name, "") if key == "" else key)
        if "target" in value and "inputs" in value:
            yield "operator", str(value["target"])
        yield from (("size", name) for name in value.get("range_constraints") or ())
    elif isinstance(value, list):
        for item in value:
            yield from _entries(item, key)
    elif isinstance(value, str):
        yield key, value
        if value[:1] in "[{" and value:
            try:
                inner = json.loads(value)
            except ValueError:
                return
            yield from _entries(inner, key)


_KEYS = {"expr_str": "size"}
# These make torch import a module by name, to find a class there.
_IMPORTS = ("__enum__", "default_factory_module")


def _is_harmless(key: str, text: Any) -> bool:
    if key == "size":
        return is_arithmetic(str(text))
    return text not in _IMPORTS


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Make every `torch.load` refuse anything but tensors, even where torch itself would not."""
    before = {name: os.environ.pop(name, None) for name in (_FORCE, _FORCE_NOT)}
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        del os.environ[_FORCE]
        os.environ.update({name: value for name, value in before.items() if value is not None})
