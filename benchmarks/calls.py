"""Microseconds of a call of a compiled network beyond its kernels: warm, and with cold caches."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch
from torch import nn

import convsmith as cs
from convsmith.report import Column, Table

__all__ = ["options", "run", "tables"]

_SWEEP = 64 * 2**20
"""Bytes that are read between two cold calls: more than any cache here holds."""


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=300, help="warm calls (%(default)s)")


def networks() -> dict[str, nn.Module]:
    """Networks of few and of many layers, all for images of 3 channels."""

    def chain(layers: int, channels: int) -> nn.Module:
        parts: list[nn.Module] = [nn.Conv2d(3, channels, 3, stride=2, padding=1)]
        for _ in range(layers):
            parts += [
                nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
        return nn.Sequential(*parts).eval()

    return {"1 layer": chain(0, 8), "10 layers": chain(3, 16), "151 layers": chain(50, 64)}


def run(options: Namespace) -> dict[str, Any]:
    """Time each network at a size where its kernels take next to nothing."""
    rows = []
    for name, net in networks().items():
        image = torch.randn(1, 3, 4, 4)
        compiled: dict[str, Any] = {"default": cs.compile(net, image, threads=1)}
        with suppress(TypeError):  # an earlier version, which is compared
            compiled["frozen"] = cs.compile(net, image, threads=1, frozen=True)
        for mode, fast in compiled.items():
            warm, cold = _times(partial(fast, image), options.rounds)
            rows.append({"network": name, "mode": mode, "warm_us": warm, "cold_us": cold})
    return {"rows": rows, "missed": []}


def _times(call: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Median microseconds of a call in a loop, and after other data has filled the caches."""
    sweep = np.zeros(_SWEEP // 8)
    for _ in range(20):
        call()
    warm, cold = [], []
    for _ in range(rounds):
        start = perf_counter_ns()
        call()
        warm.append(perf_counter_ns() - start)
    for _ in range(max(20, rounds // 10)):
        sweep += 1
        start = perf_counter_ns()
        call()
        cold.append(perf_counter_ns() - start)
    return median(warm) / 1000, median(cold) / 1000


def tables(result: dict[str, Any]) -> Sequence[Table]:
    """One row for each network and mode."""
    return [
        Table(
            title="a call, in µs",
            columns=(
                Column("network", "network"),
                Column("mode", "mode"),
                Column("warm_us", "warm", align="right", format="{:.1f}".format),
                Column("cold_us", "cold", align="right", format="{:.1f}".format),
            ),
            rows=result["rows"],
        )
    ]
