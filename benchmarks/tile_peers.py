"""Pixels per second of tiles, of the whole image at once, and of MONAI's sliding window."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

import convsmith as cs
from benchmarks.interleave import interleaved
from benchmarks.segmenter import photograph, segmenter

__all__ = ["PEER", "speeds"]

PEER = "MONAI"

WINDOWS = (512, 1024)
"""Sides of MONAI's windows that are tried; the quickest counts."""


def speeds(side: int, memory: str, seconds: float) -> list[dict[str, Any]]:
    """Medians of calls in turn, each from pixels in memory to a map of classes in memory."""
    network, image = segmenter(), photograph(side)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    fast = cs.compile(network, tensor)
    last = segmenter().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def read() -> Tensor:
        return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255

    def tiled(backend: str) -> Callable[[], Any]:
        made = cs.tile(network, (1, 3, 8, 8), memory=memory, backend=backend)
        return lambda: made.run(image, reduce="argmax").array

    calls: dict[str, Callable[[], Any]] = {
        "whole, torch, channels_last": lambda: last(
            read().to(memory_format=torch.channels_last)
        ).argmax(1),
        "whole, compiled": lambda: fast(read()).argmax(1),
        "tiled, torch": tiled("torch"),
        "tiled, compiled": tiled("compiled"),
    }
    with torch.inference_mode():
        if find_spec("monai"):
            name, call = _monai(last, read)
            calls[name] = call
        for call in calls.values():
            call()
        times = interleaved(calls, seconds)
    return [
        {
            "how": how,
            "side": side,
            "seconds": time.median_ms / 1e3,
            "low": time.low_ms / 1e3,
            "high": time.high_ms / 1e3,
            "runs": time.runs,
            "rate": side**2 / time.median_ms / 1e3,
        }
        for how, time in times.items()
    ]


def _monai(network: Any, read: Callable[[], Tensor]) -> tuple[str, Callable[[], Any]]:
    from monai.inferers import sliding_window_inference

    def of(window: int) -> Callable[[], Any]:
        def call() -> Tensor:
            image = read().to(memory_format=torch.channels_last)
            found: Any = sliding_window_inference(image, (window, window), 1, network, overlap=0.25)
            classes: Tensor = found.argmax(1)
            return classes

        return call

    def once(window: int) -> float:
        begin = perf_counter()
        of(window)()
        return perf_counter() - begin

    best = min(WINDOWS, key=once)
    return f"{PEER}, windows of {best}²", of(best)
