"""Runtimes for a network on a CPU: each prepared once for one input and then called in-process.

Every one gets the same number of threads and gives its result in its own container. What a call
contains is what a user pays for: from the image as the runtime takes it to the result.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.machine import version
from benchmarks.peers import quiet

__all__ = [
    "CONVSMITH", "DIRECT", "RUNTIMES", "WINOGRAD", "Ready", "Runtime", "error_of", "export",
    "prepare", "session", "versions",
]  # fmt: skip

CONVSMITH = "convsmith"
CHANNELS_LAST = "channels_last"
WINOGRAD, DIRECT = "ncnn", "ncnn direct"
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


def _without_gradients(model: Callable[[Tensor], Tensor], example: Tensor) -> Call:
    def call() -> Tensor:
        with torch.no_grad():
            return model(example)

    return call


def _onnxruntime(model: nn.Module, example: Tensor, threads: int, folder: Path) -> Call:
    file = folder / "model.onnx"
    export(model, example, file)
    ready = session(file, threads)
    given = {ready.get_inputs()[0].name: example.numpy()}
    return lambda: ready.run(None, given)[0]


def _openvino(precision: str) -> Callable[[nn.Module, Tensor, int, Path], Call]:
    def make(model: nn.Module, example: Tensor, threads: int, folder: Path) -> Call:
        import openvino

        file = folder / "model.onnx"
        export(model, example, file)
        core = openvino.Core()
        request = core.compile_model(
            core.read_model(str(file)),
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": precision,
                "PERFORMANCE_HINT": "LATENCY",
            },
        ).create_infer_request()
        given = [example.numpy()]
        return lambda: request.infer(given, share_inputs=True, share_outputs=True)[0]

    return make


def _ncnn(
    model: nn.Module, example: Tensor, threads: int, folder: Path, winograd: bool = True
) -> Call:
    import ncnn
    import numpy as np

    _convert(model, example[:1], folder)
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_winograd_convolution = threads, winograd
    for kind in ("fp16", "bf16"):
        for use in ("packed", "storage", "arithmetic"):
            if hasattr(net.opt, f"use_{kind}_{use}"):
                setattr(net.opt, f"use_{kind}_{use}", False)
    if net.load_param(str(folder / "model.ncnn.param")):
        raise RuntimeError("ncnn cannot read what pnnx wrote")
    net.load_model(str(folder / "model.ncnn.bin"))
    images = [ncnn.Mat(image.numpy()) for image in example]

    def call() -> Any:
        found = []
        for image in images:  # ncnn does not take batches
            extractor = net.create_extractor()
            extractor.input("in0", image)
            status, result = extractor.extract("out0")
            if status:
                raise RuntimeError(f"ncnn failed with status {status}")
            found.append(np.array(result, copy=False))
        return found

    call.net = net  # type: ignore[attr-defined]  # it must outlive what was extracted
    return call


def _convert(model: nn.Module, example: Tensor, folder: Path) -> None:
    """Write `model.ncnn.param` and `model.ncnn.bin` by ncnn's own converter."""
    found = find_spec("pnnx")
    if found is None or not found.submodule_search_locations:
        raise ImportError("ncnn's converter pnnx is not installed")
    traced = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
    traced.save(str(folder / "model.pt"))
    program = Path(next(iter(found.submodule_search_locations))) / "pnnx"
    shape = f"inputshape=[{','.join(map(str, example.shape))}]"
    command = [str(program), "model.pt", shape, "fp16=0"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=120)


def _convsmith(
    model: nn.Module, example: Tensor, threads: int, folder: Path, precision: str = "float32"
) -> Call:
    from convsmith.runtime import compile

    return _without_gradients(
        compile(model, example, threads=threads, precision=precision), example
    )


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
    Runtime("OpenVINO", "openvino", _openvino("f32"), _tensor),
    Runtime(WINOGRAD, "ncnn", _ncnn, _stacked),
    Runtime(CONVSMITH, "convsmith", _convsmith, peer=False),
    Runtime(DIRECT, "ncnn", partial(_ncnn, winograd=False), _stacked, peer=False, usual=False),
    Runtime(
        f"{CONVSMITH} bf16",
        "convsmith",
        partial(_convsmith, precision="bf16"),
        tolerance=0.5,
        peer=False,
        usual=False,
    ),
    Runtime("OpenVINO bf16", "openvino", _openvino("bf16"), _tensor, tolerance=0.5, peer=False),
)
