"""The machine underneath: its processor, how much of it may be used, and its compilers."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["cgroup_cpus", "find_compiler", "instruction_sets", "processor"]

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


def processor() -> dict[str, Any]:
    """Return the processor's model, its architecture and its instruction sets."""
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


def find_compiler(variable: str, names: Sequence[str]) -> dict[str, str] | None:
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
