"""`package.module:name` and `file.py:name`: an object in the user's own code."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import convsmith
from convsmith.errors import (
    ArgumentError,
    ConvsmithError,
    DataError,
    kind_and_line,
    nearest,
    no_file,
)

__all__ = ["call", "find", "names_code"]

Fault = type[ConvsmithError]

_OWN = str(Path(convsmith.__file__).parent)
_STANDARD = sysconfig.get_path("stdlib")
_PACKAGES = "site-packages"
# By its name a function is told to load data; a file of code is not run to find out.
_LOADER = re.compile("load|data|image|picture|photo|batch", re.IGNORECASE)


def names_code(spec: str) -> bool:
    """Whether a spec has the form of an object in the user's code.

    >>> [names_code(spec) for spec in ("my.py:build", "zoo.small:Net", "my.py", "digits")]
    [True, True, True, False]
    """
    return ":" in spec or spec.endswith(".py")


def find(spec: str, fault: Fault) -> Any:
    """Import what a spec names, and return it.

    The code runs with its own folder (for a module: the current one) on the path, and what it
    prints goes to standard error.

    Args:
        spec: `package.module:name` or `file.py:name`; the name may have dots.
        fault: the class of error to raise.

    Raises:
        ArgumentError: for a spec that is malformed.
        ConvsmithError: of class `fault`, for code that is missing or raises; the message names its
            file and line.
    """
    home, _, name = spec.rpartition(":")
    if spec.endswith(".py"):
        raise ArgumentError(f"{spec} names a file but no function{_candidates(Path(spec), fault)}")
    if not home or not all(part.isidentifier() for part in name.split(".")):
        raise ArgumentError(f"{spec!r} is neither package.module:name nor file.py:name")
    target: Any = _file(Path(home), fault) if home.endswith(".py") else _module(home, fault)
    for part in name.split("."):
        if not hasattr(target, part):
            public = [known for known in vars(target) if not known.startswith("_")]
            raise fault(f"{home} has no {name!r}{nearest(part, public)}")
        target = getattr(target, part)
    return target


def call(spec: str, function: Callable[..., Any], fault: Fault, **options: Any) -> Any:
    """Call an object that `find` returned; what it prints goes to standard error.

    Args:
        spec: where the object was found, for messages.
        function: the object.
        fault: the class of error to raise.
        options: passed on where the function has parameters of these names.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have no signature
        passed = {}
    else:
        passed = {key: options[key] for key in options if key in signature.parameters}
        try:
            signature.bind(**passed)
        except TypeError as error:
            raise fault(f"{spec} must be callable without arguments: {error}") from None
    home = spec.rpartition(":")[0]
    folder = Path(home).resolve().parent if home.endswith(".py") else Path.cwd()
    return _run(lambda: function(**passed), spec, folder, fault)


def _file(path: Path, fault: Fault) -> ModuleType:
    if not path.is_file():
        raise fault(no_file(path, "*.py"))
    path = path.resolve()
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if loaded is not None or name in sys.stdlib_module_names:
        name = f"_{name}_{abs(hash(path)):x}"
        if name in sys.modules:
            return sys.modules[name]
    _see(path.parent)
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module, loader = module_from_spec(spec), spec.loader
    # Before it runs, as the import system does: dataclasses and pickles look themselves up.
    sys.modules[name] = module
    try:
        _run(lambda: loader.exec_module(module), path.name, path.parent, fault)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _module(name: str, fault: Fault) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ArgumentError(f"{name!r} is not a module's name: expected package.module or file.py")
    _see(Path.cwd())
    try:
        module: ModuleType = _run(lambda: importlib.import_module(name), name, Path.cwd(), fault)
    except ConvsmithError as error:
        missing = getattr(error.__cause__, "name", None)
        absent = isinstance(error.__cause__, ModuleNotFoundError) and missing is not None
        if not (absent and f"{name}.".startswith(f"{missing}.")):
            raise
        local = [module.name for module in pkgutil.iter_modules([str(Path.cwd())])]
        known = ["torchvision", "timm", *local]
        raise fault(f"there is no module {missing!r}{nearest(str(missing), known)}") from None
    return module


def _see(folder: Path) -> None:
    """Put a folder first on the path, as `python FILE` does; later imports use it too.

    torch is imported before that, so that it does not take a `types.py` or `random.py` next to the
    user's code for the module it means.
    """
    import torch  # noqa: F401

    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _run(action: Callable[[], Any], what: str, home: Path, fault: Fault) -> Any:
    try:
        with redirect_stdout(sys.stderr):
            return action()
    except ConvsmithError:
        raise
    except (Exception, SystemExit) as error:
        reason = kind_and_line(error)
        if isinstance(error, SyntaxError) and error.filename:
            reason = f"SyntaxError: {error.msg}"
        raise fault(f"{what} failed{_place(error, home)}: {reason}") from error


def _place(error: BaseException, home: Path) -> str:
    """Say where an error arose: the user's innermost line, else the innermost outside convsmith."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {Path(error.filename).name}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<", _OWN, _STANDARD))
        or "site-packages" in frame.filename
    ]
    own = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(home) and _PACKAGES not in frame.filename
    ]
    for frame in reversed(own or [f for f in frames if _PACKAGES not in f.filename] or frames):
        return f" at {Path(frame.filename).name}:{frame.lineno}"
    return ""


def _candidates(path: Path, fault: Fault) -> str:
    """Name what a file defines and is probably meant, without running it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return f": write {path}:NAME"
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"]
    loaders = [name for name in names if _LOADER.search(name)]
    if fault is DataError:
        names = loaders
    elif len(loaders) < len(names):
        names = [name for name in names if name not in loaders]
    return f": write {' or '.join(f'{path}:{name}' for name in names[:3]) or f'{path}:NAME'}"
