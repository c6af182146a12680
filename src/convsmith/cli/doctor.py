"""`convsmith doctor`: what is installed here, and what a network would run on."""

from __future__ import annotations

import math
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

import typer

from convsmith._version import __version__
from convsmith.cli.output import Force, Json, check_targets, emit
from convsmith.draw import Column, Table

__all__ = ["EXTRAS", "Extra", "cache_folder", "cgroup_cpus", "command", "report"]


class Extra(NamedTuple):
    """What an extra adds, and the packages that it installs."""

    adds: str
    packages: tuple[str, ...]


CORE = ("torch", "numpy", "rich", "safetensors", "typer")
EXTRAS = {
    "data": Extra("image folders; scikit-learn's handwritten digits", ("pillow", "scikit-learn")),
    "draw": Extra("GIF and PNG pictures; plots", ("matplotlib", "pillow")),
    "explore": Extra("the explorer and the lessons", ("marimo",)),
    "matrix": Extra("convolutions as sparse matrices", ("scipy",)),
    "tables": Extra("results as pandas data frames", ("pandas",)),
    "tile": Extra(
        "images larger than memory, on one machine or many",
        ("dask", "distributed", "tifffile", "zarr"),
    ),
    "bench": Extra(
        "the peers that the benchmarks compare with",
        ("fvcore", "ncnn", "onnx", "onnxruntime", "onnxscript", "openvino", "ptflops", "thop",
         "torchinfo"),
    ),
}  # fmt: skip
# By the names of Linux in /proc/cpuinfo, which macOS spells in capitals and with dots.
_INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512F",
    "avx512_vnni": "AVX-512-VNNI",
    "avx512_bf16": "AVX-512-BF16",
    "avx_vnni": "AVX-VNNI",
    "amx_tile": "AMX",
    "neon": "NEON",
    "asimd": "NEON",
    "asimddp": "NEON-DOTPROD",
    "i8mm": "NEON-I8MM",
    "bf16": "NEON-BF16",
    "sve": "SVE",
}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def command(json: Json = None, force: Force = False) -> None:
    """Show what is installed, and which instructions and threads would be used."""
    check_targets(json, force=force)
    found = report()
    emit(found, table=_table(found), json=json, force=force)
    if any(version is None for version in found["packages"].values()) or found["torch"]["error"]:
        raise typer.Exit(1)


def report() -> dict[str, Any]:
    """Collect what `convsmith doctor` shows, as plain data.

    torch is imported, for its threads and its build; one that cannot be is told under `torch`.

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
            "adds": "fast kernels; without it everything runs in torch",
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
        "cpu": _cpu(),
        "threads": _threads(torch["threads"]),
        "torch": torch,
        "compilers": {
            "C": _compiler("CC", ("cc", "gcc", "clang", "cl")),
            "C++": _compiler("CXX", ("c++", "g++", "clang++", "cl")),
        },
        "cache": _cache(),
    }


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where compiled kernels are kept: `convsmith` in the user's cache (XDG).

    >>> cache_folder({"XDG_CACHE_HOME": "/var/cache/me"}).as_posix()
    '/var/cache/me/convsmith'
    """
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    # The specification asks to ignore a relative path.
    if not base.is_absolute():
        base = Path(os.path.expanduser("~")) / ".cache"
    return base / "convsmith"


def instruction_sets(flags: Iterable[str], machine: str) -> list[str]:
    """Name the instruction sets that matter to convolutions.

    Args:
        flags: the processor's flags as the system spells them.
        machine: the architecture; every 64-bit ARM has NEON.

    >>> instruction_sets(["sse2", "avx2", "avx512f"], "x86_64")
    ['AVX2', 'AVX-512F']
    >>> instruction_sets([], "arm64")
    ['NEON']
    """
    known = {flag.lower().replace(".", "_") for flag in flags}
    if machine.lower() in ("arm64", "aarch64"):
        known.add("neon")
    return list(dict.fromkeys(name for flag, name in _INSTRUCTION_SETS.items() if flag in known))


def cgroup_cpus(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float | None:
    """Return the processors' time that the control groups above this process allow, or None.

    A container with half a processor has 0.5. The smallest quota on the way up counts.

    Args:
        root: where the control groups are mounted.
        membership: the file that names this process's group.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            base = root
        elif "cpu" in controllers.split(","):
            base = root / "cpu"
        else:
            continue
        folder = base / group.strip("/")
        # In a container the group may be named from outside, and only the root be there.
        for level in (folder, *folder.parents):
            if not level.is_relative_to(base):
                break
            quotas += _quota(level)
    return min(quotas, default=None)


def _quota(group: Path) -> list[float]:
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        share = float(quota) / float(period)  # 'max' and -1 are no limit
    except (OSError, ValueError, ZeroDivisionError):
        return []
    return [share] if share > 0 else []


def _threads(torch: int | None) -> dict[str, Any]:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    quota = cgroup_cpus()
    limits = [n for n in (os.cpu_count(), allowed, quota and math.ceil(quota)) if n]
    return {
        "processors": os.cpu_count(),
        "affinity": allowed,
        "cgroup": quota,
        "usable": min(limits, default=1),
        "torch": torch,
        **{name: os.environ.get(name) for name in _THREAD_VARIABLES},
    }


def _cpu() -> dict[str, Any]:
    model = ""
    flags: list[str] = []
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key in ("model name", "Model") and not model:
                model = value
            if key in ("flags", "Features") and not flags:
                flags = value.split()
    except OSError:
        if shutil.which("sysctl"):
            model = _said(["sysctl", "-n", "machdep.cpu.brand_string"])
            keys = ("machdep.cpu.features", "machdep.cpu.leaf7_features")
            flags = [flag for key in keys for flag in _said(["sysctl", "-n", key]).split()]
    return {
        "model": model or platform.processor() or "unknown",
        "architecture": platform.machine(),
        "instruction_sets": instruction_sets(flags, platform.machine()),
    }


def _torch() -> dict[str, Any]:
    found: dict[str, Any] = {
        "error": None, "threads": None, "uses": None, "onednn": None, "mkl": None, "openmp": None,
        "cuda": None, "compiler": None,
    }  # fmt: skip
    try:
        torch = import_module("torch")
    except Exception as error:  # a broken torch is what a doctor is asked about
        said = str(error).strip().splitlines()
        return found | {"error": said[0] if said else type(error).__name__}
    built = torch.__config__.show()
    compiler = re.search(r"(GCC|Clang|clang|MSVC) ([\d.]+)", built)
    onednn = re.search(r"(?:oneDNN|MKL-DNN) v([\d.]+)", built)
    return found | {
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


def _compiler(variable: str, names: Sequence[str]) -> dict[str, str] | None:
    """Find a compiler as build tools do: the variable first, then the usual names."""
    for candidate in (os.environ.get(variable, ""), *names):
        words = shlex.split(candidate)
        path = shutil.which(words[0]) if words else None
        if path is not None:
            return {"path": path, "version": _said([path, "--version"])}
    return None


def _said(words: Sequence[str]) -> str:
    """Return the first line that a program says."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout.strip().splitlines() or [""])[0]


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    nearest = next((p for p in (folder, *folder.parents) if p.exists()), None)
    return {
        "path": str(folder),
        "exists": folder.is_dir(),
        "writable": nearest is not None and os.access(nearest, os.W_OK),
    }


def _table(found: Mapping[str, Any]) -> Table:
    columns = (Column("what", "what"), Column("found", "found", wrap=True))
    return Table(columns, list(_lines(found)))


def _lines(found: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Give the table's rows, the name of a group only in its first."""
    torch, threads, cpu, cache = (found[key] for key in ("torch", "threads", "cpu", "cache"))
    for name, version in found["packages"].items():
        yield name, version or f"missing: pip install {name}"
    yield "python", f"{found['python']['version']} on {found['platform']}"
    halide = found["halide"]
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
    for language, compiler in found["compilers"].items():
        yield (
            f"{language} compiler",
            compiler["version"] or compiler["path"] if compiler else "none",
        )
    state = "" if cache["writable"] else ", cannot be written"
    yield "cache", cache["path"] + (state if cache["exists"] else f" (not there yet{state})")
    yield "", ""
    for name, extra in found["extras"].items():
        have = [f"{package} {v}" for package, v in extra["packages"].items() if v]
        lack = [package for package, v in extra["packages"].items() if not v]
        yield f"[{name}]", f"{extra['adds']}" + ("" if lack else f": {', '.join(have)}")
        if lack:
            yield "", f"{extra['install']} adds {', '.join(lack)}"
