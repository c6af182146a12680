"""ncnn as a runtime: models by way of its own converter, and image by image."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ncnn_call"]


def ncnn_call(
    model: nn.Module, example: Tensor, threads: int, folder: Path, winograd: bool = True
) -> Callable[[], Any]:
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
