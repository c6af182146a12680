"""The public face: what `dir` shows is what is exported, and all of it is there."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

import convsmith as cs
from convsmith import errors

ROOMS = sorted(
    info.name for info in iter_modules(cs.__path__, "convsmith.") if info.ispkg
)  # fmt: skip


@pytest.mark.parametrize("name", ["convsmith", *ROOMS])
def test_dir_is_what_is_exported(name: str) -> None:
    module = import_module(name)
    if name == "convsmith.kernels":  # its names are those of its modules, which import Halide
        return
    assert dir(module) == sorted(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    for each in module.__all__:
        assert getattr(module, each) is not None, f"{name}.{each}"


def test_every_error_is_exported() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    kinds = {name for name in kinds if issubclass(getattr(errors, name), cs.ConvsmithError)}
    assert kinds <= set(cs.__all__)
    assert all(getattr(cs, name) is getattr(errors, name) for name in kinds)


@pytest.mark.parametrize("name", ["", ".arithmetic", ".cli", ".report", ".machine", ".draw"])
def test_what_needs_no_torch_imports_none(name: str) -> None:
    code = (
        f"import sys, convsmith{name}; dir(convsmith); "
        "print(sorted({'torch', 'numpy', 'pandas', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_compiler_of_torch_is_loaded_by_a_capture_alone() -> None:
    """It takes as long again as torch itself; figures of layers do without."""
    code = (
        "import sys, convsmith as cs; cs.inspect, cs.trace; print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_misspelt_name_is_told_with_the_one_meant() -> None:
    for name in ("inspct", "lightn", "Chian", "runtme"):
        with pytest.raises(AttributeError, match=rf"no attribute '{name}'; did you mean '\w+'\?$"):
            getattr(cs, name)
    with pytest.raises(AttributeError, match=r"no attribute 'zzz'$"):
        _ = cs.zzz
    assert not hasattr(cs, "__wrapped__")
    done = subprocess.run(
        [sys.executable, "-c", "import convsmith; convsmith.inspct"], capture_output=True, text=True
    )
    assert done.stderr.lower().count("did you mean") == 1
