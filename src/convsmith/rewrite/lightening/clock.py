"""Milliseconds of networks and of the forms of a layer: measured on this machine, and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convsmith._version import __version__
from convsmith.kernels.cache import Cache
from convsmith.machine import cache_folder, cpu_name
from convsmith.measure import Latency
from convsmith.network import untouched
from convsmith.rewrite.lightening.stopwatch import (
    Probe,
    Settled,
    on_grid,
    reference,
    settled,
    timed,
)
from convsmith.runtime import compile

__all__ = ["Clock"]

_OUTSIDE = ("pack", "unpack")
"""Blocks that a layer within a network does without."""

_REFERENCE = "reference"

_METHOD = 2
"""Of measuring: what was kept by another one is measured again."""


class Clock:
    """Times networks and layers as they will run: compiled, or by PyTorch.

    What is measured under a key is kept, with the processor, the threads and the versions that it
    holds for: the next call finds the same, and so decides the same.

    Attributes:
        compiled: whether `convsmith.compile` runs them; False where this machine has no kernels.
        threads: as many as PyTorch uses now.
        remeasure: measure again what was measured before.
        precision: what compiled networks and layers compute with.
    """

    def __init__(
        self, compiled: bool = True, remeasure: bool = False, precision: str = "float32"
    ) -> None:
        self.compiled = compiled and _kernels()
        self.precision = precision
        self.threads = torch.get_num_threads()
        self.remeasure = remeasure
        self._fresh: set[str] = set()
        self._kept: list[nn.Module] = []
        self._runners: dict[tuple[Any, ...], Callable[[], Any]] = {}

    def keep(self, model: nn.Module) -> None:
        """Name a network that will be timed several times: it is compiled once."""
        self._kept.append(model)

    def runner(
        self, model: nn.Module, image: Any, precision: str | None = None
    ) -> Callable[[], Any]:
        """A call that runs a network on an image in the way that is timed.

        Args:
            model: the network.
            image: a batch.
            precision: another one than the clock's.
        """
        if not self.compiled:
            return partial(model, image)
        precision = precision or self.precision
        key = (id(model), precision, *image.shape)
        if key in self._runners:
            return self._runners[key]
        fast = compile(model, image, threads=self.threads, precision=precision)
        call = partial(fast, image)
        if any(model is kept for kept in self._kept):
            self._runners[key] = call
        return call

    def networks(
        self, models: Mapping[str, nn.Module], image: Any, key: Sequence[object] = ()
    ) -> dict[str, Latency]:
        """Milliseconds of a batch through each network, run in turn.

        Args:
            models: by name.
            image: the batch.
            key: what their times depend on, beside this machine and this version, if they are to
                be kept.
        """

        def measure() -> dict[str, Any]:
            with torch.no_grad(), ExitStack() as stack:
                for model in models.values():
                    stack.enter_context(untouched(model))
                probes = {name: self.network_probe(model, image) for name, model in models.items()}
                if not key:
                    found, pace = settled(probes), 1.0
                else:  # in the same milliseconds as layers
                    probes = {_REFERENCE: self.reference_probe(), **probes}
                    found = settled(probes, spread=0.01, least=48)
                    pace = self._pace() / found[_REFERENCE].ms
            return {
                name: {"median_ms": pace * found[name].median_ms, "low_ms": pace * found[name].ms,
                       "high_ms": pace * found[name].high_ms, "runs": found[name].runs}
                for name in models
            }  # fmt: skip

        size = tuple(image.shape)
        found = self._known(("networks", *key, size), measure) if key else measure()
        return {name: Latency(**found[name]) for name in models}

    def layer(self, key: Sequence[object], make: Callable[[], nn.Module], size: Any) -> float:
        """Milliseconds of a layer for an input of a size, from the cache where it was measured.

        Args:
            key: what the time depends on, beside this machine and this version.
            make: builds the layer; its weights do not matter.
            size: (images, channels, *spatial).
        """

        def measure() -> dict[str, Any]:
            found = self._measure(make().eval(), size)
            return {"ms": on_grid(found.ms), "spread": found.spread, "runs": found.runs}

        return float(self._known((*key, size), measure)["ms"])

    def network_probe(self, model: nn.Module, image: Any) -> Probe:
        """Runs a network once."""
        return timed(self.runner(model, image))

    def layer_probe(self, layer: nn.Module, size: Any) -> Probe:
        """Runs a layer once."""
        like = next(layer.parameters())
        image = torch.zeros(size, dtype=like.dtype, device=like.device)
        if not self.compiled:
            return timed(partial(layer, image))
        narrow = self.precision != "float32" and image.ndim == 4
        # Results that nothing else reads are float32: within a network they are not.
        alone = nn.Sequential(layer, nn.MaxPool2d(1)).eval() if narrow else layer
        compiled = compile(alone, image, threads=self.threads, precision=self.precision)

        def probe() -> float:
            blocks = compiled.profile(rounds=3).blocks
            return sum(
                block.ms
                for block in blocks
                if block.kernel not in _OUTSIDE and not (narrow and block.name == "1")
            )

        return probe

    def reference_probe(self) -> Probe:
        """Runs what layers are compared with."""
        return reference()

    def _known(self, key: Sequence[object], measure: Callable[[], dict[str, Any]]) -> Any:
        """What was measured under a key, now or before."""
        holds: dict[str, Any] = {
            "processor": cpu_name(),
            "threads": self.threads,
            "compiled": self.compiled,
            "convsmith": __version__,
            "torch": torch.__version__,
            "method": _METHOD,
        }
        if self.precision != "float32":
            holds["precision"] = self.precision
        digest = sha256(repr([*holds.values(), *key]).encode()).hexdigest()[:24]
        store = Cache(cache_folder())
        if self.remeasure and digest not in self._fresh:
            (store.root / f"{digest}.ms").unlink(missing_ok=True)
        self._fresh.add(digest)

        def write(path: Path) -> None:
            told = {**measure(), "of": [str(part) for part in key], "holds": holds}
            path.write_text(json.dumps(told), encoding="utf-8")

        text = store.get(digest, ".ms", write).read_bytes().decode("utf-8", "replace")
        return json.JSONDecoder().raw_decode(text)[0]  # its checksum follows

    def _measure(self, layer: nn.Module, size: Any) -> Settled:
        """A layer's time at the pace that the reference has here when nothing disturbs it."""
        with torch.no_grad(), untouched(layer):
            probes = {_REFERENCE: self.reference_probe(), "layer": self.layer_probe(layer, size)}
            found = settled(probes)
        pace = self._pace() / found[_REFERENCE].ms
        return replace(found["layer"], ms=pace * found["layer"].ms)

    def _pace(self) -> float:
        """Milliseconds of the reference where nothing disturbs it, kept."""
        return float(self._known((_REFERENCE,), self._reference)["ms"])

    def _reference(self) -> dict[str, Any]:
        found = settled({_REFERENCE: self.reference_probe()}, least=128)[_REFERENCE]
        return {"ms": found.ms, "runs": found.runs}


@cache
def _kernels() -> bool:
    """Whether kernels can be had here: halide is installed and the processor is known to it."""
    try:
        import halide  # noqa: F401

        from convsmith.kernels.isa import choose_isa
    except ImportError:
        return False
    return choose_isa(None) is not None
