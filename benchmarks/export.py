"""Networks out of Python: start-up of a compiled file, C libraries here and in emulators, sizes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

import convsmith as cs
from benchmarks import emulated, web
from benchmarks.choice import chosen
from benchmarks.export_tables import tables
from benchmarks.families import FAMILIES
from benchmarks.interleave import interleaved
from benchmarks.machine import version
from benchmarks.mobile import NETWORKS, mobilenetv2, resnet18, settled
from benchmarks.networks import _exact
from benchmarks.runtimes import error_of, export
from convsmith.errors import ConvsmithError
from convsmith.exporting.library.targets import TARGETS
from convsmith.exporting.library.toolchain import toolchain_for
from convsmith.kernels.isa import choose_isa
from convsmith.measure import latency

__all__ = ["options", "run", "tables"]

START, BESIDE, ERROR, CODE = 250.0, 1.03, 2.0, 2**20
"""Goals: ms beyond `import torch`; times of `compile`; of eager's error; bytes of code."""

_MORE = ("SqueezeNet 1.1", "U-Net, batch norm", "ESRGAN, small")
EMULATED: dict[str, Callable[[], nn.Module]] = {
    **NETWORKS, "ResNet-18": resnet18, **{name: FAMILIES[name] for name in _MORE},
}  # fmt: skip
_TARGETS = {"avx512": "x86-64-v4", "avx2": "x86-64-v3"}


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=7, help="processes of each (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="of timing for each network (%(default)s)"
    )
    parser.add_argument("--size", type=int, default=224, help="of images here (%(default)s)")
    parser.add_argument("--small", type=int, default=64, help="in emulators (%(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="networks with it in their name")
    parser.set_defaults(threads=1)  # a library has no more


def run(options: Namespace) -> dict[str, Any]:
    """Measure start-up, libraries beside `compile`, emulated ones, and sizes."""
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        started, sizes = _started(Path(folder), options.runs, options.size)
    beside = [
        {"network": name, **_beside(make, options.size, options.seconds)}
        for name, make in chosen(NETWORKS, options.only).items()
    ]
    rows = []
    for name, make in chosen(EMULATED, options.only).items():
        model, image = _settled(make, options.small, options.size)
        exact = _exact(model, image)
        with torch.no_grad():
            eager = error_of(model(image), exact)
        for row in emulated.measured(model, image, exact, 3):
            rows.append({"network": name, "eager": eager, **row})
    versions = {package: version(package) for package in ("onnxruntime", "executorch")}
    result = {
        "rows": started, "beside": beside, "emulated": rows, "sizes": sizes,
        "versions": {**versions, web.PACKAGE: web.found_version()},
        "seconds": round(time.perf_counter() - start),
    }  # fmt: skip
    return {**result, "missed": list(_missed(result))}


def _settled(make: Callable[[], nn.Module], size: int, large: int = 0) -> tuple[nn.Module, Tensor]:
    """A network and its image; its batch norms have the statistics of images of the larger size.

    Those of a few positions would blow up what float32 loses.
    """
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    return settled(make(), max(size, large)), torch.randn(1, 3, size, size, generator=generator)


def _started(folder: Path, runs: int, size: int) -> tuple[list[dict[str, Any]], list[Any]]:
    """Seconds of whole processes up to the first answer, and bytes of what they need."""
    model, image = _settled(mobilenetv2, size)
    shape = tuple(image.shape)
    # Their answers are compared with float64's further on.
    compiled = cs.export(model, image, folder / "net.cvs", check=False)
    export(model, image, folder / "net.onnx")
    target = TARGETS[_target()]
    library = cs.export(model, image, folder / "out", target=target.name, check=False)
    program = toolchain_for(target).program(folder / "out", "net")
    image.numpy().tofile(folder / "image.raw")
    python = {
        "import torch": "import torch",
        ".cvs": f"import torch, convsmith as cs; net = cs.load({str(compiled.path)!r}); "
        f"net(torch.zeros({shape}))",
        "import numpy": "import numpy",
        "ONNX Runtime": "import numpy, onnxruntime as o; s = o.InferenceSession("
        f"{str(folder / 'net.onnx')!r}, providers=['CPUExecutionProvider']); "
        f"s.run(None, {{s.get_inputs()[0].name: numpy.zeros({shape}, 'f4')}})",
    }
    words = {name: [sys.executable, "-c", code] for name, code in python.items()}
    words["C library"] = [str(program), str(folder / "image.raw")]
    calls = {
        name: partial(subprocess.run, each, check=True, capture_output=True)
        for name, each in words.items()
    }
    times = latency(calls, seconds=0, minimum=runs)
    beyond = {".cvs": "import torch", "ONNX Runtime": "import numpy"}
    rows = []
    for name, found in times.items():
        base = times[beyond[name]].median_ms if name in beyond else None
        rows.append(
            {
                "what": name, "median_ms": found.median_ms, "low_ms": found.low_ms,
                "high_ms": found.high_ms, "runs": found.runs, "beyond": beyond.get(name),
                "beyond_ms": None if base is None else found.median_ms - base,
            }
        )  # fmt: skip
    return rows, list(_sizes(library, model, image, folder))


def _target() -> str:
    isa = choose_isa()
    if isa is None:
        raise ConvsmithError("this machine has neither AVX2 nor AVX-512: no library runs here")
    return _TARGETS[isa.name]


def _beside(make: Callable[[], nn.Module], size: int, seconds: float) -> dict[str, Any]:
    """Milliseconds of `compile` and of the C library in one process, in turn."""
    model, image = _settled(make, size)
    with TemporaryDirectory() as folder:
        try:
            written: Any = cs.export(model, image, folder, target=_target(), check=False)
        except ConvsmithError as error:
            return {"reason": str(error)}
        fast = cs.compile(model, image, threads=1)
        with torch.no_grad():
            result = torch.empty_like(model(image))
        library = _loaded(written.path / TARGETS[written.target].shared("net"), image, result)
        library()
        times = interleaved({"library": library, "compile": partial(fast, image)}, seconds)
        exact = _exact(model, image)
        ours, theirs = times["library"].median_ms, times["compile"].median_ms
        return {
            "library_ms": ours, "compile_ms": theirs, "times": ours / theirs,
            "error": error_of(result, exact), "code": written.library, "arena": written.arena,
        }  # fmt: skip


def _loaded(path: Path, image: Tensor, result: Tensor) -> Callable[[], Any]:
    library = ctypes.CDLL(str(path))
    library.net_create.restype = ctypes.c_void_p
    network = ctypes.c_void_p(library.net_create(None))
    inputs, outputs = ((ctypes.c_void_p * 1)(tensor.data_ptr()) for tensor in (image, result))
    return lambda: library.net_run(network, inputs, outputs)


def _sizes(library: Any, model: nn.Module, image: Tensor, folder: Path) -> Iterator[dict[str, Any]]:
    """Bytes of what a program has to carry besides the weights."""
    yield {"what": f"C library, {library.target}", "bytes": library.library}
    for target in ("x86-64", *emulated.MACHINES):
        try:
            other: Any = cs.export(model, image, folder / target, target=target, check=False)
            yield {"what": f"C library, {target}", "bytes": other.library}
        except ConvsmithError as error:
            yield {"what": f"C library, {target}", "reason": str(error)}
        shutil.rmtree(folder / target, ignore_errors=True)
    executorch = ("", "_backend_xnnpack", "_threadpool")  # what runs a program of XNNPACK's
    for package, patterns in (
        ("onnxruntime", ["capi/onnxruntime_pybind11_state*"]),
        ("torch", ["lib/libtorch_cpu.*"]),
        ("executorch", [f"lib/libexecutorch{part}.*" for part in executorch]),
    ):
        try:
            size = sum(_bytes_of(package, pattern) for pattern in patterns)
            yield {"what": f"{package}'s library", "bytes": size}
        except ConvsmithError as error:
            yield {"what": f"{package}'s library", "reason": str(error)}


def _bytes_of(package: str, pattern: str) -> int:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ConvsmithError(f"not installed (pip install {package})")
    files = list(Path(next(iter(found.submodule_search_locations))).glob(pattern))
    if not files:
        raise ConvsmithError(f"its package holds no {pattern}")
    return sum(file.stat().st_size for file in files)


def _missed(result: dict[str, Any]) -> Iterator[str]:
    for row in result["rows"]:
        if row["what"] == ".cvs" and row["beyond_ms"] > START:
            yield f".cvs: {row['beyond_ms']:.0f} ms beyond import torch, not {START:.0f}"
    for row in result["beside"]:
        if "reason" in row:
            yield f"{row['network']}: {row['reason']}"
        elif row["times"] > BESIDE:
            yield f"{row['network']}: {row['times']:.3f} times compile, not {BESIDE}"
    for row in result["emulated"]:
        where = f"{row['network']} on {row['machine']}"
        if "reason" in row:
            yield f"{where}: {row['reason']}"
        elif row["error"] > ERROR * row["eager"]:
            yield f"{where}: {row['error']:.1e} from float64, eager {row['eager']:.1e}"
    for row in result["sizes"]:
        if row["what"].startswith("C library") and row.get("bytes", 0) > CODE:
            yield f"{row['what']}: {row['bytes']:,} bytes, not {CODE:,}"
