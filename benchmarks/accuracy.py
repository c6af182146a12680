"""What narrower numbers cost: trained networks on photographs, against float32."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.choice import chosen
from benchmarks.half import OURS, THEIRS
from benchmarks.peers import quiet
from benchmarks.runtimes import RUNTIMES, error_of, versions
from benchmarks.trained import TRAINED, crops
from convsmith.cli.output import talk
from convsmith.errors import ArgumentError
from convsmith.report import Column, Table, percent

__all__ = ["options", "run", "tables"]

AGREEMENT = 0.98
LEAST = 200
"""Crops of fewer would not tell 98 % from 97 %."""
USUAL = (OURS, THEIRS, "OpenVINO default", "torch.compile bf16")
"""Without int8, whose ranges would have to come from photographs and not from random images."""


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--crops", type=int, default=400, help="of the photographs (%(default)s)")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of every runtime (%(default)s)"
    )
    parser.add_argument(
        "--runtimes", default=",".join(USUAL), metavar="NAME,...", help="(%(default)s)"
    )
    parser.add_argument("--only", default="", metavar="WORD", help="only networks with WORD")


def run(options: Namespace) -> dict[str, Any]:
    """Compare the classes and the logits of every network in every runtime with eager's."""
    if options.crops < LEAST:
        raise ArgumentError(f"--crops {options.crops} are too few to judge by: at least {LEAST}")
    names = [name.strip() for name in options.runtimes.split(",")]
    if unknown := set(names) - {runtime.name for runtime in RUNTIMES}:
        raise ArgumentError(f"no runtime {unknown.pop()!r}")
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for network, trained in chosen(TRAINED, options.only).items():
        model, images = trained.load(), crops(options.crops, trained)
        with torch.no_grad():
            right = torch.cat([model(image[None]) for image in images])
        for name in names:
            talk(f"{network}: {name}")
            row = {"network": network, "runtime": name, "images": options.crops}
            try:
                found = _outputs(name, model, images, options.threads)
            except Exception as problem:  # whatever a foreign runtime raises
                rows.append({**row, "reason": f"{type(problem).__name__}: {problem}"[:120]})
                continue
            same = (found.argmax(1) == right.argmax(1)).double().mean()
            rows.append({**row, "agreement": float(same), "error": error_of(found, right)})
    return {"rows": rows, "versions": versions(), "missed": list(_missed(rows))}


def _outputs(name: str, model: nn.Module, images: Tensor, threads: int) -> Tensor:
    """The logits of a runtime, image by image."""
    runtime = next(runtime for runtime in RUNTIMES if runtime.name == name)
    image = images[:1].clone()
    with TemporaryDirectory() as folder, torch.no_grad(), quiet():
        call = runtime.make(model, image, threads, Path(folder))
        found = []
        for other in images:
            image.copy_(other)  # what a runtime was given, and reads at every call
            found.append(runtime.value(call()).clone())
    return torch.cat(found)


def _missed(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Goals that were not reached; a network without our figures is one."""
    for network in dict.fromkeys(row["network"] for row in rows):
        found = {row["runtime"]: row for row in rows if row["network"] == network}
        ours, theirs = found.get(OURS, {}), found.get(THEIRS, {})
        if "agreement" not in ours:
            yield f"{network}: {ours.get('reason', 'not run')}"
            continue
        if ours["agreement"] < AGREEMENT:
            yield f"{network}: {percent(ours['agreement'])} agree, not {percent(AGREEMENT, 0)}"
        if "error" not in theirs:
            yield f"{network} beside {THEIRS}: {theirs.get('reason', 'not run')}"
        elif ours["error"] > theirs["error"]:
            yield f"{network}: error {ours['error']:.1e}, {THEIRS} {theirs['error']:.1e}"


def tables(result: dict[str, Any]) -> Sequence[Table]:
    return [
        Table(
            [
                Column("network", "network"),
                Column("runtime", "runtime"),
                Column("images", "images", align="right"),
                Column("agreement", "same class", align="right", share=True),
                Column("error", "error of the logits", align="right", format="{:.1e}".format),
                Column("reason", "why not"),
            ],
            result["rows"],
            title="Trained networks on photographs",
            note="Against eager float32: how many images get the same first class, and the norm of "
            f"the logits' difference over their norm. Goals: {percent(AGREEMENT, 0)}, and no "
            f"larger an error than {THEIRS}.",
        )
    ]
