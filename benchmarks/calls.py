"""Microseconds of a call from Python, beside other runtimes: warm, and with cold caches."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import convsmith as cs
from benchmarks.choice import chosen
from benchmarks.interleave import timed
from benchmarks.mobile import mobilenetv2, settled
from benchmarks.runtimes import CONVSMITH, prepare, versions
from convsmith.report import Column, Table

__all__ = ["missed", "options", "run", "tables"]

_SWEEP = 64 * 2**20
"""Bytes that are read between two cold calls: more than any cache here holds."""

_WARM, _COLD = 40, 4
"""Calls of each runtime in a round."""

FROZEN = f"{CONVSMITH}, frozen"
_RUNTIMES = ("ONNX Runtime", "OpenVINO", CONVSMITH)

Network = tuple[Callable[[], nn.Module], tuple[int, ...]]


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=15, help="rounds of calls (%(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="only networks with WORD")
    parser.set_defaults(threads=1)


def networks() -> dict[str, Network]:
    """Networks of few and of many layers, each with the shape of its input."""

    def norm_and_relu(channels: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(channels), nn.ReLU()]

    def depthwise(channels: int) -> list[nn.Module]:
        conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        return [conv, *norm_and_relu(channels)]

    def separable(channels: int) -> list[nn.Module]:
        conv = nn.Conv2d(channels, channels, 1, bias=False)
        return [*depthwise(channels), conv, *norm_and_relu(channels)]

    def chain(layers: int, channels: int) -> nn.Module:
        parts: list[nn.Module] = [nn.Conv2d(3, channels, 3, stride=2, padding=1)]
        return nn.Sequential(*parts, *(p for _ in range(layers) for p in depthwise(channels)))

    return {
        "1 layer": (lambda: chain(0, 8), (1, 3, 4, 4)),
        "3 separable layers": (
            lambda: nn.Sequential(*separable(16), *separable(16), *separable(16)),
            (1, 16, 8, 8),
        ),
        "10 layers": (lambda: chain(3, 16), (1, 3, 4, 4)),
        "151 layers": (lambda: chain(50, 64), (1, 3, 4, 4)),
        "MobileNetV2": (mobilenetv2, (1, 3, 32, 32)),
    }


def run(options: Namespace) -> dict[str, Any]:
    """Time each network at a size where its kernels take little."""
    rows = []
    for name, (make, shape) in chosen(networks(), options.only).items():
        torch.manual_seed(0)
        model = settled(make()) if name == "MobileNetV2" else make().eval()
        image = torch.randn(shape)
        for runtime, (warm, cold) in _times(_calls(model, image), options.rounds).items():
            rows.append({"network": name, "runtime": runtime, "warm_us": warm, "cold_us": cold})
    return {"rows": rows, "versions": versions(), "missed": list(missed(rows))}


def missed(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where a call takes longer than the quickest of the others."""
    for name in dict.fromkeys(row["network"] for row in rows):
        found = {row["runtime"]: row for row in rows if row["network"] == name}
        others = [row for runtime, row in found.items() if not runtime.startswith(CONVSMITH)]
        if not others:
            yield f"{name}: no other runtime is installed"
            continue
        for runtime in (CONVSMITH, FROZEN):
            for key, what in (("warm_us", "warm"), ("cold_us", "cold")):
                best = min(others, key=lambda row: row[key])
                if found[runtime][key] > best[key]:
                    ours, theirs = found[runtime][key], best[key]
                    yield (
                        f"{name}, {what}: {runtime} {ours:.1f} µs, {best['runtime']} {theirs:.1f}"
                    )


def _calls(model: nn.Module, image: Tensor) -> dict[str, Callable[[], Any]]:
    ready = prepare(model, image, 1, _RUNTIMES)
    calls = {name: call for name, call in ready.calls.items() if name in _RUNTIMES}
    # As a user calls it, without the gradients' context of the others.
    calls[CONVSMITH] = partial(cs.compile(model, image, threads=1), image)
    calls[FROZEN] = partial(cs.compile(model, image, threads=1, frozen=True), image)
    return calls


def _times(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median microseconds in a loop, and after other data has filled the caches; in turns."""
    sweep = np.zeros(_SWEEP // 8)
    warm: dict[str, list[float]] = {name: [] for name in calls}
    cold: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(10):
                call()
            warm[name] += [timed(call) for _ in range(_WARM)]
            for _ in range(_COLD):
                sweep += 1
                cold[name].append(timed(call))
    return {name: (1e6 * median(warm[name]), 1e6 * median(cold[name])) for name in calls}


def tables(result: dict[str, Any]) -> Sequence[Table]:
    """One row for each network and runtime."""
    return [
        Table(
            title="a call, in µs",
            columns=(
                Column("network", "network"),
                Column("runtime", "runtime"),
                Column("warm_us", "warm", align="right", format="{:.1f}".format),
                Column("cold_us", "cold", align="right", format="{:.1f}".format),
            ),
            rows=result["rows"],
            note="Goal: at most what the quickest of the others takes.",
        )
    ]
