"""The runtimes that `convsmith bench` puts side by side, each as a call without arguments."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

from convsmith.errors import ModelError
from convsmith.network.contexts import quiet

if TYPE_CHECKING:
    from torch import nn

__all__ = ["PEERS", "Inputs", "Peer", "thread_count"]

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
"""What a model is called with: by position, and by name."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A runtime.

    Attributes:
        name: what the table shows.
        needs: the packages it needs besides PyTorch.
        advice: how to use it.
        make: takes a model, its inputs and a number of threads; returns a call that gives the
            output.
        precision: what it computes with: it takes part where that is asked for, those in float32
            always.
    """

    name: str
    needs: tuple[str, ...]
    advice: str
    make: Callable[[nn.Module, Inputs, int], Callable[[], Any]]
    precision: str = "float32"

    @property
    def missing(self) -> str:
        """The line that installs whatever is missing; '' if nothing is."""
        lacking = [name for name in self.needs if find_spec(name) is None]
        return f"pip install {' '.join(lacking)}" if lacking else ""


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Let PyTorch compute with this many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _eager(model: nn.Module, inputs: Inputs, threads: int) -> Callable[[], Any]:
    args, kwargs = inputs
    return lambda: model(*args, **kwargs)


def _channels_last(model: nn.Module, inputs: Inputs, threads: int) -> Callable[[], Any]:
    import torch
    from torch.utils._pytree import tree_map

    last: Any = {"memory_format": torch.channels_last}

    def laid_out(leaf: Any) -> Any:
        return leaf.to(**last) if isinstance(leaf, torch.Tensor) and leaf.dim() == 4 else leaf

    return _eager(copy.deepcopy(model).to(**last), tree_map(laid_out, inputs), threads)


def _inductor(model: nn.Module, inputs: Inputs, threads: int) -> Callable[[], Any]:
    import torch

    compiled = torch.compile(copy.deepcopy(model), options={"freezing": True})
    call = _eager(compiled, inputs, threads)  # type: ignore[arg-type]
    call()
    return call


def _onnx(model: nn.Module, inputs: Inputs) -> tuple[bytes, list[Any]]:
    """The network as a file, and the values of its inputs."""
    import torch
    from torch.utils._pytree import tree_leaves

    args, kwargs = inputs
    with quiet():
        program = torch.onnx.export(model, args, kwargs=kwargs, dynamo=True)
        assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]
    return content, [tensor.numpy() for tensor in tensors]


def _onnxruntime(model: nn.Module, inputs: Inputs, threads: int) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    content, values = _onnx(model, inputs)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    given = dict(zip(names, values, strict=True))
    return lambda: session.run(None, given)


def _openvino(
    model: nn.Module, inputs: Inputs, threads: int, precision: str = "f32"
) -> Callable[[], Any]:
    import openvino

    # On a processor with bfloat16, OpenVINO would compute in it by default.
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    content, values = _onnx(model, inputs)
    read = openvino.Core().read_model(BytesIO(content))
    request = openvino.compile_model(read, "CPU", settings).create_infer_request()
    return lambda: [result.copy() for result in request.infer(values).values()]


def _convsmith(
    model: nn.Module,
    inputs: Inputs,
    threads: int,
    precision: str = "float32",
    winograd: bool = False,
) -> Callable[[], Any]:
    from convsmith.cli.output import steps
    from convsmith.runtime import compile

    with steps() as progress:
        args, kwargs = inputs
        fast = compile(
            model, kwargs or args, threads=threads, progress=progress, precision=precision,
            winograd=winograd,
        )  # fmt: skip
    if winograd and not any(block.label == "winograd" for r in fast.regions for block in r.blocks):
        raise ModelError("none of its convolutions takes fewer products")
    return _eager(fast, inputs, threads)


PEERS = (
    Peer("torch", (), "model as it is", _eager),
    Peer(
        "torch channels_last",
        (),
        "model.to(memory_format=torch.channels_last), inputs likewise",
        _channels_last,
    ),
    Peer("torch.compile", (), 'torch.compile(model, options={"freezing": True})', _inductor),
    Peer(
        "onnxruntime",
        ("onnxruntime", "onnx", "onnxscript"),
        "torch.onnx.export, then onnxruntime.InferenceSession",
        _onnxruntime,
    ),
    Peer(
        "openvino",
        ("openvino", "onnx", "onnxscript"),
        "torch.onnx.export, then openvino.compile_model",
        _openvino,
    ),
    Peer("convsmith", ("halide",), "convsmith.compile(model, example)", _convsmith),
    Peer(
        "convsmith Winograd",
        ("halide",),
        "convsmith.compile(model, example, winograd=True)",
        partial(_convsmith, winograd=True),
    ),
    Peer(
        "openvino bf16",
        ("openvino", "onnx", "onnxscript"),
        "torch.onnx.export, then openvino.compile_model, whose default it is",
        partial(_openvino, precision="bf16"),
        "bf16",
    ),
    Peer(
        "convsmith bf16",
        ("halide",),
        'convsmith.compile(model, example, precision="bf16")',
        partial(_convsmith, precision="bf16"),
        "bf16",
    ),
)
