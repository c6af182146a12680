"""Milliseconds of networks and of the forms of a layer: measured on this machine, and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convsmith._version import __version__
from convsmith.kernels.cache import Cache
from convsmith.machine import cache_folder, cpu_name
from convsmith.measure import Latency, latency
from convsmith.network import untouched
from convsmith.runtime import compile

__all__ = ["Clock"]

_OUTSIDE = ("pack", "unpack")
"""Blocks that a layer within a network does without."""


class Clock:
    """Times networks and layers as they will run: compiled, or by PyTorch.

    Attributes:
        compiled: whether `convsmith.compile` runs them; False where this machine has no kernels.
        threads: as many as PyTorch uses now.
        remeasure: measure layers again that were measured before.
    """

    def __init__(self, compiled: bool = True, remeasure: bool = False) -> None:
        self.compiled = compiled and _kernels()
        self.threads = torch.get_num_threads()
        self.remeasure = remeasure
        self._fresh: set[str] = set()
        self._kept: list[nn.Module] = []
        self._runners: dict[tuple[int, ...], Callable[[], Any]] = {}

    def keep(self, model: nn.Module) -> None:
        """Name a network that will be timed several times: it is compiled once."""
        self._kept.append(model)

    def runner(self, model: nn.Module, image: Any) -> Callable[[], Any]:
        """A call that runs a network on an image in the way that is timed."""
        if not self.compiled:
            return partial(model, image)
        key = (id(model), *image.shape)
        if key in self._runners:
            return self._runners[key]
        call = partial(compile(model, image, threads=self.threads), image)
        if any(model is kept for kept in self._kept):
            self._runners[key] = call
        return call

    def networks(self, models: Mapping[str, nn.Module], image: Any) -> dict[str, Latency]:
        """Milliseconds of a batch through each network, run in turn."""
        with torch.no_grad(), ExitStack() as stack:
            for model in models.values():
                stack.enter_context(untouched(model))
            calls = {name: self.runner(model, image) for name, model in models.items()}
            return latency(calls, seconds=0.4 * len(calls), minimum=15)

    def layer(self, key: Sequence[object], make: Callable[[], nn.Module], size: Any) -> float:
        """Milliseconds of a layer for an input of a size, from the cache where it was measured.

        Args:
            key: what the time depends on, beside this machine and this version.
            make: builds the layer; its weights do not matter.
            size: (images, channels, *spatial).
        """
        identity = [__version__, torch.__version__, cpu_name(), self.compiled, self.threads]
        digest = sha256(repr([*identity, *key, size]).encode()).hexdigest()[:24]
        store = Cache(cache_folder())
        if self.remeasure and digest not in self._fresh:
            (store.root / f"{digest}.ms").unlink(missing_ok=True)
        self._fresh.add(digest)

        def write(path: Path) -> None:
            path.write_text(json.dumps(self._measure(make().eval(), size)), encoding="utf-8")

        text = store.get(digest, ".ms", write).read_bytes().decode("utf-8", "replace")
        return float(json.JSONDecoder().raw_decode(text)[0])  # its checksum follows

    def _measure(self, layer: nn.Module, size: Any) -> float:
        like = next(layer.parameters())
        image = torch.zeros(size, dtype=like.dtype, device=like.device)
        with torch.no_grad(), untouched(layer):
            if self.compiled:
                profile = compile(layer, image, threads=self.threads).profile(rounds=25)
                return sum(block.ms for block in profile.blocks if block.kernel not in _OUTSIDE)
            measured = latency({"layer": lambda: layer(image)}, seconds=0.02, minimum=15)
            return measured["layer"].median_ms


@cache
def _kernels() -> bool:
    """Whether kernels can be had here: halide is installed and the processor is known to it."""
    try:
        import halide  # noqa: F401

        from convsmith.kernels.isa import choose_isa
    except ImportError:
        return False
    return choose_isa(None) is not None
