"""The machine underneath: its processors, its compilers, and where kernels are kept on it."""

from __future__ import annotations

import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from convsmith.errors import ConvsmithError, first_line

__all__ = [
    "CACHE",
    "COMPILERS",
    "cache_folder",
    "cache_problem",
    "cgroup_cpus",
    "cpu",
    "cpu_flags",
    "cpu_name",
    "find_compiler",
    "instruction_sets",
    "is_private",
    "most_threads",
    "processors",
    "usable_processors",
    "version_of",
]

CACHE = "CONVSMITH_CACHE"
"""The environment variable that names the folder of kernels."""

COMPILERS = ("cc", "gcc", "clang")
"""The C compilers that kernels are linked with, the first found."""

# Named as in Linux's /proc/cpuinfo; macOS writes capitals and dots.
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
        flags: the processor's flags as the system writes them.
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


def processors() -> int:
    """Return how many processors this process may run on.

    >>> processors() >= 1
    True
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # neither macOS nor Windows has it
        return os.cpu_count() or 1


def usable_processors() -> int:
    """Return how many processors are worth a thread: those allowed, within a container's quota.

    >>> 1 <= usable_processors() <= processors()
    True
    """
    quota = cgroup_cpus()
    return processors() if quota is None else max(1, min(processors(), math.ceil(quota)))


def most_threads() -> int:
    """Return how many threads can be asked for: more only wait for each other."""
    return max(64, 8 * processors())


def memory(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many bytes of memory this process can have: the machine's or its container's.

    A platform that does not tell has `sys.maxsize` bytes.

    >>> memory() > 0
    True
    """
    try:
        sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, OSError, ValueError):
        sizes = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # 'max' means no limit
            sizes.append(int((root / name).read_text()))
    return min((size for size in sizes if size > 0), default=sys.maxsize)


def cgroup_cpus(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float | None:
    """Return how many processors' time the control groups of this process allow; None if unlimited.

    A container with half a processor has 0.5. The smallest quota up to the root counts.

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
        # In a container the group may be named from outside, while only the root is visible.
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
        share = float(quota) / float(period)  # 'max' and -1 mean no limit
    except (OSError, ValueError, ZeroDivisionError):
        return []
    return [share] if share > 0 else []


def cpu() -> dict[str, Any]:
    """Return the processor's model, its architecture and its instruction sets."""
    model, flags = _cpu()
    return {
        "model": model or platform.processor() or "unknown",
        "architecture": platform.machine(),
        "instruction_sets": instruction_sets(flags, platform.machine()),
    }


def cpu_flags() -> frozenset[str]:
    """Return what the system says that the processor can do, in the words of Linux."""
    return frozenset(flag.lower().replace(".", "_") for flag in _cpu()[1])


def cpu_name() -> str:
    """Return the processor's model, or else its architecture.

    >>> bool(cpu_name())
    True
    """
    return _cpu()[0] or platform.processor() or platform.machine()


@cache
def _cpu() -> tuple[str, tuple[str, ...]]:
    """The processor's model, '' if the system does not say, and its flags."""
    model = ""
    flags: list[str] = []
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        if shutil.which("sysctl"):
            model = _output(["sysctl", "-n", "machdep.cpu.brand_string"])
            keys = ("machdep.cpu.features", "machdep.cpu.leaf7_features")
            flags = [flag for key in keys for flag in _output(["sysctl", "-n", key]).split()]
        return model, tuple(flags)
    numbers: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key in ("model name", "Model") and not model:
            model = value
        if key in ("cpu family", "model"):
            numbers.setdefault(key, value)
        if key in ("flags", "Features") and not flags:
            flags = value.split()
    if model and len(numbers) == 2:  # virtual machines call processors of several years "AMD EPYC"
        model += f" (family {numbers['cpu family']}, model {numbers['model']})"
    return model, tuple(flags)


def find_compiler(variable: str, names: Sequence[str]) -> tuple[str, ...] | None:
    """Return a compiler's command as build tools find it: the variable first, then usual names.

    Raises:
        ConvsmithError: if the variable holds something that no shell could read.

    >>> find_compiler("NO_SUCH_VARIABLE", ["no-such-compiler"])
    """
    value = os.environ.get(variable, "")
    try:
        named = shlex.split(value)
    except ValueError as error:
        raise ConvsmithError(f"{variable}={value!r} is not a command: {error}") from None
    for words in ([named] if named else []) + [[name] for name in names]:
        if path := shutil.which(words[0]):
            return (path, *words[1:])
    return None


def version_of(program: str) -> str:
    """Return the first line that a program prints about its version, '' if it prints none."""
    return _output([program, "--version"])


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where kernels are kept: `CONVSMITH_CACHE`, else in the user's cache folder (XDG).

    >>> cache_folder({"XDG_CACHE_HOME": "/var/cache/me"}).as_posix()
    '/var/cache/me/convsmith/kernels'
    >>> cache_folder({"CONVSMITH_CACHE": "/srv/kernels"}).as_posix()
    '/srv/kernels'
    """
    if named := environment.get(CACHE):
        return Path(named).expanduser().absolute()
    home = Path(environment.get("XDG_CACHE_HOME", ""))
    # The XDG specification asks to ignore a relative path.
    if not home.is_absolute():
        home = Path(os.path.expanduser("~")) / ".cache"
    return home / "convsmith" / "kernels"


def cache_problem(environment: Mapping[str, str] = os.environ) -> str:
    """Say in one line what is wrong with the cache folder; '' if nothing is.

    >>> cache_problem({"CONVSMITH_CACHE": "kernels"}).partition(":")[0]
    "CONVSMITH_CACHE='kernels' is relative"
    """
    folder, named = cache_folder(environment), environment.get(CACHE, "")
    if named and not Path(named).expanduser().is_absolute():
        return (
            f"{CACHE}={named!r} is relative: kernels are made again in every folder that convsmith "
            "starts from"
        )
    if folder.exists():
        if not folder.is_dir():
            return f"{folder} is not a folder"
        if not is_private(folder):
            return f"others may write to {folder}, so it is not used: chmod 700 it"
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return "" if os.access(nearest, os.W_OK) else f"{folder} cannot be written"


def is_private(path: Path) -> bool:
    """Whether no one but this user can have written a file or folder; False if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def _output(words: Sequence[str]) -> str:
    """The first line that a program prints; '' where it cannot be run."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return first_line(done.stdout)
