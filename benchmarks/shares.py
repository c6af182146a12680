"""How much of the time of published networks is spent in PyTorch, and on what."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch
from torch import nn

import convsmith as cs
from benchmarks.choice import chosen
from benchmarks.published import PUBLISHED
from convsmith.cli.models import load_model
from convsmith.cli.output import talk
from convsmith.errors import ConvsmithError
from convsmith.network import Network
from convsmith.report import Column, Table, milliseconds
from convsmith.runtime.profile import BlockTime

__all__ = ["options", "run", "tables"]

GOAL = 0.05
"""Of the time of a network, at most this should be spent in PyTorch, in the median."""

SHOWN = 0.01
"""Operations that take less of the time are not named."""

QUICK = "mobilenet_v2"


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, help="threads (%(default)s)")
    parser.add_argument(
        "--rounds",
        type=int,
        default=7,
        help="runs of each layer, whose median counts (%(default)s)",
    )
    parser.add_argument(
        "--only", default="", metavar="WORD", help="only networks with WORD in the name"
    )
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK}")


def run(options: Namespace) -> dict[str, Any]:
    """Compile each network for one image, and time it layer by layer."""
    if lacking := [name for name in ("torchvision", "timm") if find_spec(name) is None]:
        raise ConvsmithError(
            f"{' and '.join(lacking)} missing: `make .venv-zoo/installed`, then "
            "`.venv-zoo/bin/python -m benchmarks shares`"
        )
    rows = []
    for spec, side in chosen(PUBLISHED, QUICK if options.quick else options.only).items():
        talk(f"{spec} …")
        rows.append({"network": spec, **_measured(spec, side, options.threads, options.rounds)})
    middle = median(row["share"] for row in rows)
    missed = [f"median share {middle:.1%}, not {GOAL:.0%}"] if middle > GOAL else []
    return {"rows": rows, "median": middle, "missed": missed}


def _measured(spec: str, side: int, threads: int, rounds: int) -> dict[str, Any]:
    torch.manual_seed(0)
    model = load_model(spec)
    assert isinstance(model, nn.Module)
    fast = cs.compile(model.eval(), (1, 3, side, side), threads=threads)
    profile = fast.profile(rounds=rounds)
    return {
        "side": side,
        "ms": profile.ms,
        "share": sum(block.ms for block in profile.blocks if block.why) / profile.total_ms,
        "stays": _stays(fast.network, profile.blocks, profile.total_ms),
    }


def _stays(network: Network, blocks: Sequence[BlockTime], total: float) -> list[dict[str, Any]]:
    """What PyTorch computes: for each operation its share of the time, and why."""
    shares: dict[str, float] = defaultdict(float)
    why: dict[str, str] = {}
    for block in blocks:
        if block.why:
            operation = network[block.name].operation.name
            shares[operation] += block.ms / total
            why.setdefault(operation, block.why)
    return [
        {"operation": operation, "share": share, "why": why[operation]}
        for operation, share in sorted(shares.items(), key=lambda item: -item[1])
    ]


def tables(result: dict[str, Any]) -> Sequence[Table]:
    """One row for each network, those with the largest share last."""
    rows = [
        {
            "network": row["network"],
            "side": row["side"],
            "ms": row["ms"],
            "share": row["share"],
            "stays": ", ".join(
                f"{each['operation']} {each['share']:.0%}"
                for each in row["stays"]
                if each["share"] >= SHOWN
            ),
        }
        for row in sorted(result["rows"], key=lambda row: row["share"])
    ]
    return [
        Table(
            (
                Column("network", "network"),
                Column("side", "side", align="right"),
                Column("ms", "one image", align="right", format=milliseconds),
                Column("share", "in PyTorch", align="right", share=True),
                Column("stays", "on", wrap=True),
            ),
            rows,
            title="The time that published networks spend in PyTorch",
            note=f"Layer by layer, each alone; operations from {SHOWN:.0%} of the time on. "
            f"Median: {result['median']:.1%}; goal: at most {GOAL:.0%}.",
        ),
        _reasons(result["rows"]),
    ]


def _reasons(rows: Sequence[dict[str, Any]]) -> Table:
    """The operations that cost the most over all networks, with a reason each."""
    shares: dict[str, float] = defaultdict(float)
    networks: dict[str, int] = defaultdict(int)
    why: dict[str, str] = {}
    for row in rows:
        for each in row["stays"]:
            if each["share"] >= SHOWN:
                shares[each["operation"]] += each["share"] / len(rows)
                networks[each["operation"]] += 1
                why.setdefault(each["operation"], each["why"])
    return Table(
        (
            Column("operation", "operation"),
            Column("networks", "networks", align="right"),
            Column("share", "mean share", align="right", format="{:.2%}".format),
            Column("why", "why, in one of them", wrap=True),
        ),
        [
            {"operation": name, "networks": networks[name], "share": share, "why": why[name]}
            for name, share in sorted(shares.items(), key=lambda item: -item[1])
        ],
        title="What stays in PyTorch",
    )
