"""A `.pt2` of `torch.export.save`, inspected before torch loads it.

torch's own loader unpickles, imports, and evaluates strings that it finds in the archive, and
opens compiled libraries. So the archive is first read as data, with torch's reader, and refused
unless everything in it is a tensor, an operator, or plain arithmetic on sizes.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from convsmith.errors import ModelError, first_line, no_file

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["load_program"]

# An operator is a name in one of these places, and no name in them is private to Python.
_OPERATOR = re.compile(
    r"(torch\.ops\.(higher_order\.\w+|\w+\.\w+\.\w+)|_operator\.\w+|math\.\w+"
    r"|torch\.(_?sym_\w+|_C\._set_grad_enabled|amp\.autocast_mode\._(enter|exit)_autocast))"
)
# What sympy prints sizes with: its own classes, and those of torch.utils._sympy.functions.
_ARITHMETIC = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "BooleanFalse",
        "BooleanTrue",
        "Dummy",
        "Equality",
        "Float",
        "GreaterThan",
        "Integer",
        "Integral",
        "ITE",
        "LessThan",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Not",
        "Or",
        "Piecewise",
        "ExprCondPair",
        "Pow",
        "Rational",
        "StrictGreaterThan",
        "StrictLessThan",
        "Symbol",
        "Tuple",
        "Unequality",
        "ceiling",
        "floor",
        "One",
        "Zero",
        "NegativeOne",
        "Half",
        "Infinity",
        "NegativeInfinity",
        "CeilDiv",
        "CeilToInt",
        "CleanDiv",
        "FloatPow",
        "FloatTrueDiv",
        "FloorDiv",
        "FloorToInt",
        "Identity",
        "IntTrueDiv",
        "IsNonOverlappingAndDenseIndicator",
        "LShift",
        "ModularIndexing",
        "PowByNatural",
        "PythonMod",
        "RShift",
        "RoundDecimal",
        "RoundToInt",
        "ToFloat",
        "TruncToFloat",
        "TruncToInt",
        "Where",
    ]
)
_PIECES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Tuple, ast.keyword,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Load,
)  # fmt: skip
_WORD = re.compile(r"[A-Za-z]\w*|[-+]?[\d.]+(e[-+]?\d+)?")
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
    from torch.export.pt2_archive._package import load_pt2

    try:
        _vet(path)
        with _tensors_only():
            program = load_pt2(str(path)).exported_programs["model"]
    except ModelError:
        raise
    except UnpicklingError as error:
        raise ModelError(
            f"{path} holds pickled objects and is not opened: save a program whose inputs and "
            "constants are tensors and numbers"
        ) from error
    except Exception as error:
        raise ModelError(
            f"{path} was not written by torch.export.save: {first_line(error)}"
        ) from error
    # Checks on the inputs in Python, which torch would compile: the program is the same without.
    program._guards_code = []
    return program


def _vet(path: Path) -> None:
    from torch.export.pt2_archive import PT2ArchiveReader
    from torch.export.pt2_archive import constants as names

    with PT2ArchiveReader(str(path)) as archive:
        files = archive.get_file_names()
        if any(file.startswith(names.AOTINDUCTOR_DIR) for file in files):
            raise ModelError(
                f"{path} holds compiled code, which is not loaded: write it with "
                "torch.export.save instead"
            )
        for file in files:
            if file.startswith(names.CONSTANTS_DIR) and file.endswith(".json"):
                for constant in json.loads(archive.read_string(file))["config"].values():
                    if not constant["path_name"].startswith(names.TENSOR_CONSTANT_FILENAME_PREFIX):
                        raise ModelError(f"{path} holds a custom object, which is not unpickled")
            if file.startswith(names.MODELS_DIR):
                for key, text in _strings(json.loads(archive.read_string(file))):
                    if not _is_harmless(key, text):
                        raise ModelError(f"{path} is not opened: {text[:80]!r} could run code")


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string under its key; a string that holds JSON is read as that JSON."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield "", str(name)
            yield from _strings(item, _KEYS.get(name, "") if key == "" else key)
        if "target" in value and "inputs" in value:
            yield "operator", str(value["target"])
        yield from (("size", name) for name in value.get("range_constraints") or ())
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, key)
    elif isinstance(value, str):
        yield key, value
        if value[:1] in "[{" and value:
            try:
                inner = json.loads(value)
            except ValueError:
                return
            yield from _strings(inner, key)


_KEYS = {"expr_str": "size"}
# These make torch import a module by name, to find a class there.
_IMPORTS = ("__enum__", "default_factory_module")


def _is_harmless(key: str, text: str) -> bool:
    if key == "operator":
        return _OPERATOR.fullmatch(text) is not None and "__" not in text
    if key == "size":
        return _is_arithmetic(text)
    return text not in _IMPORTS


def _is_arithmetic(text: str) -> bool:
    """Whether an expression holds nothing but numbers, symbols and known functions."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if not (isinstance(node.func, ast.Name) and node.func.id in _ARITHMETIC):
                return False
        elif isinstance(node, ast.Name):
            if id(node) not in called and _WORD.fullmatch(node.id) is None:
                return False
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and _WORD.fullmatch(node.value) is None:
                return False
        elif not isinstance(node, _PIECES):
            return False
    return True


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
