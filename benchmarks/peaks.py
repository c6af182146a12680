"""Peak memory of a forward pass: predicted from the graph, measured, and as torchinfo has it."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import convsmith as cs
from benchmarks.meter import Meter
from benchmarks.peers import quiet

__all__ = ["peak"]


def peak(name: str, model: nn.Module, example: Tensor) -> dict[str, Any]:
    """Bytes of activations at the peak, found in four ways; weights and input are alike in all.

    `tensors` are the storages of tensors, seen as they come and go; `allocated` is what PyTorch's
    allocator gave out, to kernels too: their workspaces and packed weights.
    """
    found = cs.inspect(model, example).memory
    assert found is not None
    with torch.no_grad(), Meter(example, *model.parameters(), *model.buffers()) as meter:
        model(example)
    return {
        "network": name,
        "foretold": found.activations,
        "at_most": found.at_most,
        "status": found.status,
        "held": found.inputs + found.parameters,
        "tensors": meter.peak,
        "allocated": _allocated(model, example),
        "torchinfo": _torchinfo(model, example),
    }


def _allocated(model: nn.Module, example: Tensor) -> int:
    # The profiler's library writes a line to the terminal at each start, past Python.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.no_grad(), quiet():
        model(example)  # what a first call keeps is not its peak
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            model(example)
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most


def _torchinfo(model: nn.Module, example: Tensor) -> int | None:
    """Its "forward/backward pass size": outputs of layers with parameters, twice for gradients."""
    try:
        from torchinfo import summary
    except ImportError:
        return None
    with quiet():
        return int(summary(model, input_data=example, verbose=0).total_output_bytes)
