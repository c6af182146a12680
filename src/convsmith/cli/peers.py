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

from convsmith.network.contexts import quiet

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["PEERS", "Peer", "thread_count"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A runtime.

    Attributes:
        name: what the table shows.
        needs: the packages it needs besides PyTorch.
        advice: how to use it.
        make: takes a model, an image and a number of threads; returns a call that gives the output.
        precision: what it computes with: it takes part where that is asked for, those in float32
            always.
    """

    name: str
    needs: tuple[str, ...]
    advice: str
    make: Callable[[nn.Module, Tensor, int], Callable[[], Any]]
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


def _eager(model: nn.Module, image: Tensor, threads: int) -> Callable[[], Any]:
    return lambda: model(image)


def _channels_last(model: nn.Module, image: Tensor, threads: int) -> Callable[[], Any]:
    import torch

    last: Any = {"memory_format": torch.channels_last}
    model, image = copy.deepcopy(model).to(**last), image.to(**last)
    return lambda: model(image)


def _inductor(model: nn.Module, image: Tensor, threads: int) -> Callable[[], Any]:
    import torch

    model = copy.deepcopy(model)
    compiled = torch.compile(model, options={"freezing": True})
    compiled(image)
    return lambda: compiled(image)


def _onnx(model: nn.Module, image: Tensor) -> bytes:
    import torch

    with quiet():
        program = torch.onnx.export(model, (image,), dynamo=True)
        assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def _onnxruntime(model: nn.Module, image: Tensor, threads: int) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        _onnx(model, image), options, providers=["CPUExecutionProvider"]
    )
    given = {session.get_inputs()[0].name: image.numpy()}
    return lambda: session.run(None, given)


def _openvino(
    model: nn.Module, image: Tensor, threads: int, precision: str = "f32"
) -> Callable[[], Any]:
    import openvino

    # On a processor with bfloat16, OpenVINO would compute in it by default.
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    read = openvino.Core().read_model(BytesIO(_onnx(model, image)))
    request = openvino.compile_model(read, "CPU", settings).create_infer_request()
    given = image.numpy()
    return lambda: [result.copy() for result in request.infer([given]).values()]


def _convsmith(
    model: nn.Module, image: Tensor, threads: int, precision: str = "float32"
) -> Callable[[], Any]:
    from convsmith.cli.output import steps
    from convsmith.runtime import compile

    with steps() as progress:
        fast = compile(model, image, threads=threads, progress=progress, precision=precision)
    return lambda: fast(image)


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
