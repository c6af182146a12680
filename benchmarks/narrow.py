"""Runtimes in narrower numbers: PyTorch's autocast, and networks that ONNX Runtime quantizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["autocast", "quantized"]

_CALIBRATION = 16
"""Random images that the ranges of int8 are taken from; the networks' weights are random, too."""


def autocast(model: nn.Module, example: Tensor) -> Callable[[], Any]:
    """`torch.compile` with bf16 by autocast, frozen; the result in float32."""
    import torch._dynamo
    import torch._inductor.config as inductor

    torch._dynamo.reset()
    inductor.freezing = True
    compiled: Callable[[Tensor], Tensor] = torch.compile(model, dynamic=False)

    def call() -> Any:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return compiled(example).float()

    return call


def quantized(file: Path, example: Tensor) -> Path:
    """An ONNX model in int8 beside it: activations and weights, these per channel, as QDQ."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = onnx.load(str(file), load_external_data=False).graph.input[0].name
    generator = torch.Generator().manual_seed(2)
    images = iter([torch.randn(example.shape, generator=generator) for _ in range(_CALIBRATION)])

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            image = next(images, None)
            return None if image is None else {name: image.numpy()}

    ready, light = file.with_suffix(".ready.onnx"), file.with_suffix(".int8.onnx")
    quant_pre_process(str(file), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready),
        str(light),
        Images(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return light
