"""Runtimes for a network on a CPU: each prepared once for one input and then called in-process.

Every one gets the same number of threads and gives its result in its own container. What a call
contains is what a user pays for: from the image as the runtime takes it to the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.machine import version
from benchmarks.narrow import autocast, quantized
from benchmarks.ncnn_runtime import ncnn_call
from benchmarks.peers import quiet

__all__ = [
    "CONVSMITH", "DIRECT", "FEWER", "NARROW", "RUNTIMES", "USUAL", "WINOGRAD", "Ready", "Runtime",
    "error_of", "export", "prepare", "session", "versions",
]  # fmt: skip

CONVSMITH = "convsmith"
CHANNELS_LAST = "channels_last"
LOOSE = 0.5
"""The error of a network of random weights in bf16 or int8 above which it is called wrong."""
WINOGRAD, DIRECT, FEWER = "ncnn", "ncnn direct", f"{CONVSMITH} Winograd"
OPSET = 17

Call = Callable[[], Any]


@dataclass(frozen=True)
class Runtime:
    """One way to run a network.

    Attributes:
        name: as the tables show it.
        package: the distribution whose version counts.
        make: from a model, an example, a number of threads and a folder to a call without
            arguments.
        value: what the call gave, as a tensor.
        tolerance: the relative error against eager above which the result is called wrong.
        peer: whether it is compared with: fp32, and not ourselves.
        usual: whether it is among those that run unless others are named.
    """

    name: str
    package: str
    make: Callable[[nn.Module, Tensor, int, Path], Call]
    value: Callable[[Any], Tensor] = lambda found: found
    tolerance: float = 1e-3
    peer: bool = True
    usual: bool = True


@dataclass(frozen=True)
class Ready:
    """Runtimes that are ready to be called, and why the others are not.

    Attributes:
        calls: by name.
        values: what each gave at its first call, as a tensor.
        reasons: by name, for those that failed or gave something else than eager did.
    """

    calls: Mapping[str, Call]
    values: Mapping[str, Tensor]
    reasons: Mapping[str, str]


def prepare(model: nn.Module, example: Tensor, threads: int, names: Sequence[str] = ()) -> Ready:
    """Prepare runtimes for a model in evaluation mode, and call each once.

    Args:
        model: gives one tensor for one.
        example: the input of every call.
        threads: for each of them.
        names: which; the usual ones unless given. Eager is always there: the others are held to
            what it gives.
    """
    torch.set_num_threads(threads)
    calls: dict[str, Call] = {}
    values: dict[str, Tensor] = {}
    reasons: dict[str, str] = {}
    for runtime in RUNTIMES:
        chosen = runtime.name in names if names else runtime.usual
        if not chosen and runtime is not RUNTIMES[0]:
            continue
        try:
            with TemporaryDirectory() as folder, torch.no_grad(), quiet():
                call = runtime.make(model, example, threads, Path(folder))
                value = runtime.value(call()).clone()
        except Exception as problem:  # whatever a foreign runtime raises belongs into the table
            reasons[runtime.name] = _said(problem)
            continue
        values[runtime.name] = value
        true = values[RUNTIMES[0].name]
        error = error_of(value, true) if value.shape == true.shape else float("inf")
        if error <= runtime.tolerance:
            calls[runtime.name] = call
        else:
            reasons[runtime.name] = f"wrong: {error:.1e} from eager"
    return Ready(calls, values, reasons)


def error_of(value: Tensor, true: Tensor) -> float:
    """The norm of the difference as a share of the norm of the true result, in float64."""
    exact = true.double()
    return float((value.double() - exact).norm() / exact.norm())


def versions() -> dict[str, str | None]:
    """The installed version of each runtime's package."""
    return {runtime.name: version(runtime.package) for runtime in RUNTIMES}


def export(model: nn.Module, example: Tensor, file: Path) -> None:
    """Write a model as ONNX, for inputs of this shape."""
    with torch.no_grad(), quiet():
        torch.onnx.export(model, (example,), str(file), dynamo=False, opset_version=OPSET)


def session(file: Path, threads: int) -> Any:
    """ONNX Runtime's session for a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _eager(model: nn.Module, example: Tensor, threads: int, folder: Path) -> Call:
    return _without_gradients(model, example)


def _channels_last(model: nn.Module, example: Tensor, threads: int, folder: Path) -> Call:
    changed = deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _without_gradients(changed, example.to(memory_format=torch.channels_last))


def _compiled(model: nn.Module, example: Tensor, threads: int, folder: Path) -> Call:
    import torch._dynamo
    import torch._inductor.config as inductor

    torch._dynamo.reset()
    inductor.freezing = True
    return _without_gradients(torch.compile(deepcopy(model), dynamic=False), example)


def _autocast(model: nn.Module, example: Tensor, threads: int, folder: Path) -> Call:
    return autocast(deepcopy(model), example)


def _without_gradients(model: Callable[[Tensor], Tensor], example: Tensor) -> Call:
    def call() -> Tensor:
        with torch.no_grad():
            return model(example)

    return call


def _onnxruntime(
    model: nn.Module, example: Tensor, threads: int, folder: Path, narrow: bool = False
) -> Call:
    file = folder / "model.onnx"
    export(model, example, file)
    ready = session(quantized(file, example) if narrow else file, threads)
    given = {ready.get_inputs()[0].name: example.numpy()}
    return lambda: ready.run(None, given)[0]


def _openvino(
    model: nn.Module, example: Tensor, threads: int, folder: Path, precision: str = ""
) -> Call:
    """In `f32` or `bf16`; as it comes where nothing is said; `int8` from what is quantized."""
    import openvino

    file = folder / "model.onnx"
    export(model, example, file)
    file = quantized(file, example) if precision == "int8" else file
    hint = {"INFERENCE_PRECISION_HINT": precision} if precision in ("f32", "bf16") else {}
    core = openvino.Core()
    request = core.compile_model(
        core.read_model(str(file)),
        "CPU",
        {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **hint},
    ).create_infer_request()
    given = [example.numpy()]
    return lambda: request.infer(given, share_inputs=True, share_outputs=True)[0]


def _convsmith(
    model: nn.Module,
    example: Tensor,
    threads: int,
    folder: Path,
    precision: str = "float32",
    winograd: bool = False,
) -> Call:
    from convsmith.runtime import compile

    fast = compile(model, example, threads=threads, precision=precision, winograd=winograd)
    if winograd and not any(b.label == "winograd" for r in fast.regions for b in r.blocks):
        raise LookupError("none of its convolutions takes fewer products")
    return _without_gradients(fast, example)


def _tensor(found: Any) -> Tensor:
    return torch.from_numpy(found)


def _stacked(found: Any) -> Tensor:
    return torch.stack([torch.from_numpy(image) for image in found])


def _said(error: Exception) -> str:
    line = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line[:120]}" if line else type(error).__name__


RUNTIMES = (
    Runtime("eager", "torch", _eager, tolerance=0),
    Runtime(CHANNELS_LAST, "torch", _channels_last),
    Runtime("torch.compile", "torch", _compiled),
    Runtime("ONNX Runtime", "onnxruntime", _onnxruntime, _tensor),
    Runtime("OpenVINO", "openvino", partial(_openvino, precision="f32"), _tensor),
    Runtime(WINOGRAD, "ncnn", ncnn_call, _stacked),
    Runtime(CONVSMITH, "convsmith", _convsmith, peer=False),
    Runtime(FEWER, "convsmith", partial(_convsmith, winograd=True), peer=False, usual=False),
    Runtime(DIRECT, "ncnn", partial(ncnn_call, winograd=False), _stacked, peer=False, usual=False),
    Runtime(
        f"{CONVSMITH} bf16",
        "convsmith",
        partial(_convsmith, precision="bf16"),
        tolerance=LOOSE,
        peer=False,
        usual=False,
    ),
    Runtime(
        "OpenVINO bf16", "openvino", partial(_openvino, precision="bf16"), _tensor, LOOSE, False
    ),
    Runtime("OpenVINO default", "openvino", _openvino, _tensor, LOOSE, False, False),
    Runtime("torch.compile bf16", "torch", _autocast, tolerance=LOOSE, peer=False, usual=False),
    Runtime(
        "ONNX Runtime int8",
        "onnxruntime",
        partial(_onnxruntime, narrow=True),
        _tensor,
        LOOSE,
        False,
        False,
    ),
    Runtime(
        "OpenVINO int8",
        "openvino",
        partial(_openvino, precision="int8"),
        _tensor,
        LOOSE,
        False,
        False,
    ),
)

USUAL = tuple(runtime.name for runtime in RUNTIMES if runtime.usual)
"""Those that run unless others are named."""

NARROW = (
    "ONNX Runtime",
    "OpenVINO",
    CONVSMITH,
    *(runtime.name for runtime in RUNTIMES if runtime.tolerance == LOOSE),
)
"""Those beside which bf16 is measured: the quickest in float32, and all that compute in less."""
