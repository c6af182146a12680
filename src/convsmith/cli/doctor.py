"""`convsmith doctor`: what is installed here, and what a network would run on."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module, metadata
from typing import Any, NamedTuple

import typer

from convsmith._version import __version__
from convsmith.cli.output import Force, Json, check_targets, emit
from convsmith.errors import ConvsmithError, first_line
from convsmith.machine import (
    COMPILERS,
    cache_folder,
    cache_problem,
    cgroup_cpus,
    cpu,
    find_compiler,
    usable_processors,
    version_of,
)
from convsmith.report import Column, Table

__all__ = ["EXTRAS", "Extra", "command", "report"]


class Extra(NamedTuple):
    """What an extra adds, and the packages that it installs."""

    adds: str
    packages: tuple[str, ...]


CORE = ("halide", "torch", "numpy", "rich", "safetensors", "typer")
EXTRAS = {
    "data": Extra("image folders; scikit-learn's handwritten digits", ("pillow", "scikit-learn")),
    "draw": Extra("GIF and PNG pictures", ("pillow",)),
    "explore": Extra(
        "the explorer and the lessons", ("marimo", "pillow", "scikit-learn", "scipy", "uvicorn")
    ),
    "geo": Extra("cloud-optimised GeoTIFF from tile", ("rasterio",)),
    "library": Extra("C libraries from export for other machines", ("ziglang",)),
    "matrix": Extra("convolutions as sparse matrices", ("scipy",)),
    "nifti": Extra("volumes as NIfTI, into and from tile", ("nibabel",)),
    "onnx": Extra("networks as ONNX files, and out of them", ("onnx", "onnxruntime", "onnxscript")),
    "tables": Extra("results as pandas data frames", ("pandas",)),
    "tile": Extra(
        "tiles from and into Zarr and TIFF, on many machines",
        ("dask", "distributed", "tifffile", "zarr"),
    ),
    "train": Extra("fine-tuning in several processes", ("lightning-fabric",)),
    "bench": Extra(
        "the peers that the benchmarks compare with",
        ("fvcore", "ncnn", "onnx", "onnxruntime", "onnxscript", "openvino", "pnnx", "ptflops",
         "tensorly-torch", "thop", "torch-pruning", "torchinfo", "torchlens", "torchscan"),
    ),
}  # fmt: skip
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def command(json: Json = None, force: Force = False) -> None:
    """Show what is installed, and which instructions and threads would be used."""
    check_targets(json, force=force)
    data = report()
    emit(data, table=_table(data), json=json, force=force)
    if any(version is None for version in data["packages"].values()) or data["torch"]["error"]:
        raise typer.Exit(1)


def report() -> dict[str, Any]:
    """Collect what `convsmith doctor` shows, as plain data.

    torch is imported for its threads and its build; if that fails, `torch` holds the reason.

    >>> report()["packages"]["convsmith"] == __version__
    True
    """
    torch = _torch()
    return {
        "report": "doctor",
        "version": 1,
        "python": {"version": platform.python_version(), "path": sys.executable},
        "platform": platform.platform(),
        "packages": {"convsmith": __version__, **_versions(CORE)},
        "halide": {
            "version": _version("halide"),
            "install": "pip install halide",
            "adds": "fast kernels; without them everything runs in torch",
        },
        "extras": {
            name: {
                "adds": extra.adds,
                "packages": (versions := _versions(extra.packages)),
                "complete": None not in versions.values(),
                "install": f"pip install 'convsmith[{name}]'",
            }
            for name, extra in EXTRAS.items()
        },
        "cpu": cpu(),
        "threads": _threads(torch["threads"]),
        "torch": torch,
        "compilers": {
            "C": _compiler("CC", COMPILERS),
            "C++": _compiler("CXX", ("c++", "g++", "clang++", "cl")),
        },
        "cache": _cache(),
    }


def _threads(torch: int | None) -> dict[str, Any]:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "processors": os.cpu_count(),
        "affinity": allowed,
        "cgroup": cgroup_cpus(),
        "usable": usable_processors(),
        "torch": torch,
        **{name: os.environ.get(name) for name in _THREAD_VARIABLES},
    }


def _torch() -> dict[str, Any]:
    unknown: dict[str, Any] = {
        "error": None, "threads": None, "uses": None, "onednn": None, "mkl": None, "openmp": None,
        "cuda": None, "compiler": None,
    }  # fmt: skip
    try:
        torch = import_module("torch")
    except Exception as error:  # a broken torch is exactly what people ask a doctor about
        return unknown | {"error": first_line(error)}
    built = torch.__config__.show()
    compiler = re.search(r"(GCC|Clang|clang|MSVC) ([\d.]+)", built)
    onednn = re.search(r"(?:oneDNN|MKL-DNN) v([\d.]+)", built)
    return unknown | {
        "threads": torch.get_num_threads(),
        "uses": torch.backends.cpu.get_cpu_capability(),
        "onednn": onednn[1] if onednn else torch.backends.mkldnn.is_available(),
        "mkl": torch.backends.mkl.is_available(),
        "openmp": torch.backends.openmp.is_available(),
        "cuda": torch.version.cuda,
        "compiler": compiler[0] if compiler else None,
    }


def _versions(packages: Sequence[str]) -> dict[str, str | None]:
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return {
        "path": str(folder),
        "exists": folder.is_dir(),
        "writable": os.access(nearest, os.W_OK),
        "problem": cache_problem(),
    }


def _compiler(variable: str, names: Sequence[str]) -> dict[str, str] | None:
    try:
        command = find_compiler(variable, names)
    except ConvsmithError as error:
        return {"path": "", "version": str(error)}
    return {"path": command[0], "version": version_of(command[0])} if command else None


def _table(data: Mapping[str, Any]) -> Table:
    columns = (Column("what", "what"), Column("found", "found", wrap=True))
    return Table(columns, list(_lines(data)))


def _lines(data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the table's rows; only the first of a group carries its name."""
    torch, threads, cpu, cache = (data[key] for key in ("torch", "threads", "cpu", "cache"))
    for name, version in data["packages"].items():
        if name != "halide":  # below, with what it adds
            yield name, version or f"missing: pip install {name}"
    yield "python", f"{data['python']['version']} on {data['platform']}"
    halide = data["halide"]
    yield (
        "halide",
        halide["version"] or f"not installed; adds {halide['adds']}: {halide['install']}",
    )
    yield "", ""
    yield "processor", f"{cpu['model']} ({cpu['architecture']})"
    yield "instructions", " ".join(cpu["instruction_sets"]) or "none known"
    quota = "no quota" if threads["cgroup"] is None else f"a quota of {threads['cgroup']:g}"
    affinity = threads["affinity"] if threads["affinity"] is not None else "all"
    yield (
        "threads",
        f"{threads['usable']} of {threads['processors']} processors usable ({affinity} allowed, "
        f"{quota})",
    )
    if torch["error"] is not None:
        yield "torch", f"cannot be imported: {torch['error']}"
    else:
        parts = [f"oneDNN {torch['onednn']}" if isinstance(torch["onednn"], str) else ""]
        parts += [name for name in ("mkl", "openmp") if torch[name]]
        parts += [f"cuda {torch['cuda']}" if torch["cuda"] else "no cuda"]
        yield "torch uses", f"{torch['uses']}, {torch['threads']} threads"
        yield "torch built", ", ".join(part for part in [*parts, torch["compiler"]] if part)
    for name in _THREAD_VARIABLES:
        if threads[name] is not None:
            yield name, threads[name]
    for language, compiler in data["compilers"].items():
        yield (
            f"{language} compiler",
            compiler["version"] or compiler["path"] if compiler else "none",
        )
    yield "cache", cache["path"] + ("" if cache["exists"] else " (not there yet)")
    if cache["problem"]:
        yield "", cache["problem"]
    yield "", ""
    for name, extra in data["extras"].items():
        have = [f"{package} {v}" for package, v in extra["packages"].items() if v]
        lack = [package for package, v in extra["packages"].items() if not v]
        yield f"[{name}]", f"{extra['adds']}" + ("" if lack else f": {', '.join(have)}")
        if lack:
            yield "", f"{extra['install']} adds {', '.join(lack)}"
