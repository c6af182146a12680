"""`convsmith.inspect`: time of all views, peak memory, and thirty networks, beside other tools.

What can be measured apart can be asked for apart: `--only views peaks`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks import architectures, views
from benchmarks.counting import RUNS, TRUTH, counted, module
from benchmarks.inspect_tables import tables
from benchmarks.peaks import peak
from benchmarks.verdicts import judged
from convsmith.cli.output import talk

__all__ = ["options", "run", "tables"]

ZOO = {
    "torchvision": ("resnet50", "mobilenet_v2", "densenet121", "vit_b_16"),
    "timm": ("efficientnet_b0", "convnext_atto"),
}
PEAKS = ("resnet18", "vgg16", "mobilenet_v2", *views.NETWORKS)
WITHIN = 0.1
"""How far the predicted peak may lie from the measured one."""


def options(parser: ArgumentParser) -> None:
    zoo = [f"{library}:{name}" for library in ZOO if find_spec(library) for name in ZOO[library]]
    parser.add_argument(
        "networks",
        nargs="*",
        default=[*TRUTH, *zoo],
        metavar="NETWORK",
        help=f"networks for the counters: {', '.join(TRUTH)}, or a model as `convsmith "
        "inspect` takes it, for 1×3×224×224",
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="only these parts"
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each counter (%(default)s)")
    parser.add_argument("--view-runs", type=int, default=5, help="runs of all views (%(default)s)")
    # On a machine that does other things too, two threads wait for each other: the counters that
    # run the network would be measured by what else runs.
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (%(default)s)")


def run(options: Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {"rows": [], "threads": options.threads}
    missed: list[str] = []
    for part in PARTS:
        if part in options.only:
            found = PARTS[part](options)
            missed += found.pop("missed")
            result |= found
    return result | {"missed": missed}


def _views(options: Namespace) -> dict[str, Any]:
    views.warm()
    rows = []
    for name in views.NETWORKS:
        talk(f"all views of {name} …")
        rows.append(views.viewed(name, options.view_runs))
    talk("all views of plain layers …")
    return {
        "views": rows,
        "layers": views.grown(options.view_runs),
        "missed": [
            f"{row['network']}: all views {row['sum']:.2f} s, goal {views.GOAL} s; torch.export "
            f"alone {row[views.EXPORT]:.2f} s"
            for row in rows
            if row["sum"] > views.GOAL
        ],
    }


def _peaks(options: Namespace) -> dict[str, Any]:
    rows = []
    for name in PEAKS:
        talk(f"peak memory of {name} …")
        model = getattr(architectures, name)() if name in views.NETWORKS else module(name)
        rows.append(peak(name, model.eval(), torch.rand(1, 3, 224, 224)))
    missed = []
    for row in rows:
        for measured in ("tensors", "allocated"):
            ratio = (row["foretold"] + row["held"]) / (row[measured] + row["held"])
            if abs(ratio - 1) > WITHIN:
                missed.append(
                    f"{row['network']}: peak memory, weights and input included, {ratio:.2f} of "
                    f"what is {'held by tensors' if measured == 'tensors' else 'allocated'}"
                )
    return {"peaks": rows, "missed": missed}


def _counters(options: Namespace) -> dict[str, Any]:
    return counted(options.networks, options.runs)


def _verdicts(options: Namespace) -> dict[str, Any]:
    talk("thirty networks …")
    found = judged()
    ours = [row for row in found["verdicts"] if row["tool"] == "convsmith"]
    missed = [
        f"{row['network']}: {row['quantity']} {row['verdict']}"
        for row in ours
        if row["verdict"] != "right"
    ]
    return {"thirty": found, "missed": missed}


PARTS: dict[str, Callable[[Namespace], dict[str, Any]]] = {
    "views": _views,
    "peaks": _peaks,
    "counters": _counters,
    "verdicts": _verdicts,
}
