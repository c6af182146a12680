"""Other counters on published networks and on networks of one operation, in this process.

Every counter is called after all imports, in turn, silenced. `torch.export` alone is the measure of
time: it is most of what `inspect` does.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

import convsmith as cs
from benchmarks.cases import CASES
from benchmarks.peers import CONVSMITH, PEERS, Peer, Refused, quiet
from benchmarks.traces import left_behind
from convsmith.cli.models import load_model
from convsmith.cli.output import talk
from convsmith.errors import ArgumentError
from convsmith.measure import latency
from convsmith.measure.counters import count_as, multiply_adds
from convsmith.network import Network

__all__ = ["RUNS", "TRUTH", "counted", "module"]

GOAL = 1.5
EXPORT = "torch.export"
# CPython 3.11 and later keep frames in chunks of 16 KB, and a busy call that straddles the end of
# a chunk allocates and frees one each time: found by trial, torch.export takes 10 to 80 % longer at
# some depths of the stack than a few frames further in. So each turn runs at another depth.
DEPTHS = range(0, 144, 12)
COLLECT = "gc.collect"
AGAIN = "again"  # the same once more: how far two equal candidates lie apart here
# Multiply-adds of the published architectures' convolutions and linear layers at 224², no bias:
# literal figures, not computed here.
TRUTH = {
    "resnet18": 1_814_073_344,
    "resnet50": 4_089_184_256,
    "vgg16": 15_470_264_320,
    "mobilenet_v1": 568_740_352,
    "mobilenet_v2": 300_774_272,
}
RUNS = len(DEPTHS)


def counted(names: Sequence[str], runs: int) -> dict[str, Any]:
    """Totals and times of `names`, the small networks, and what each counter leaves changed."""
    usable = [CONVSMITH, *(peer for peer in PEERS if not peer.missing)]
    example = torch.rand(1, 3, 224, 224)
    rows: list[dict[str, Any]] = []
    totals: list[dict[str, Any]] = []
    for name in names:
        talk(f"{name} …")
        model = module(name).eval()
        found = _totals(name, model, example, usable)
        totals += found
        refused = {total["counter"] for total in found if total["refused"]}
        able = [peer for peer in usable if peer.name not in refused]
        rows += _times(name, model, example, able, runs)
    talk("small networks, counted by hand …")
    cases = _cases(usable)
    ratios = [row for row in rows if row["counter"] == CONVSMITH.name and row["ratio"] > GOAL]
    wrong = [total for total in totals if total["counter"] == CONVSMITH.name and total["beyond"]]
    failed = [case["case"] for case in cases if case["verdicts"][CONVSMITH.name] != "exact"]
    left = _left(usable)
    return {
        "measure": [EXPORT, AGAIN],
        "goal": GOAL,
        "counters": [
            {"counter": peer.name, "version": peer.version, "says": peer.says,
             "unit": peer.unit, "missing": peer.missing}
            for peer in (CONVSMITH, *PEERS)
        ],
        "rows": rows,
        "totals": totals,
        "cases": cases,
        "left_behind": left,
        "missed": [
            *(f"{row['network']}: {row['ratio']:.2f}× torch.export, goal {GOAL}×"
              for row in ratios),
            *(f"{total['network']}: {total['beyond']:+,} MACs from the truth" for total in wrong),
            *(f"{case}: not counted exactly" for case in failed),
            *(f"inspect changed {what}" for what in left[0]["changed"] + left[0]["after_failure"]),
        ],
    }  # fmt: skip


def module(name: str) -> nn.Module:
    """One of our own definitions, or any model that the command line takes."""
    with quiet():
        model = load_model(name if ":" in name else f"tests.networks:{name}")
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"{name} is an exported program: the other counters need a module")
    return model


def _totals(
    name: str, model: nn.Module, example: Tensor, counters: Sequence[Peer]
) -> list[dict[str, Any]]:
    """What each counter reports, and whether its own rules explain that to the unit."""
    network = cs.trace(model, example)
    by_hand = name in TRUTH
    reference = TRUTH[name] if by_hand else cs.inspect(network).macs
    found: list[dict[str, Any]] = []
    for counter in counters:
        terms = _terms(counter, network)
        total = {
            "network": name,
            "counter": counter.name,
            "unit": counter.unit,
            "reference": reference,
            "by_hand": by_hand,
            "terms": terms,
        }
        try:
            said, _ = counter.count(model, example)
        except Refused as error:
            nothing = dict.fromkeys(("says", "macs", "beyond", "unexplained"))
            found.append(total | nothing | {"refused": str(error)})
            continue
        macs = _whole(said / counter.unit)
        found.append(
            total
            | {
                "says": said,
                "macs": macs,
                # Against itself it would tell nothing.
                "beyond": macs - reference if by_hand or counter is not CONVSMITH else None,
                "unexplained": macs - sum(terms.values()),
                "refused": "",
            }
        )
    return found


def _terms(counter: Peer, network: Network) -> dict[str, int]:
    """The figures that a counter's rules give for a network."""
    return dict(count_as(network, counter.tool).terms if counter.tool else multiply_adds(network))


def _times(
    name: str, model: nn.Module, example: Tensor, counters: Sequence[Peer], runs: int
) -> list[dict[str, Any]]:
    def export() -> None:
        with torch.no_grad():
            torch.export.export(model, (example,), strict=False)

    count = {counter.name: partial(counter.call, model, example) for counter in counters}
    ours = {CONVSMITH.name: count.pop(CONVSMITH.name)}
    calls: dict[str, Callable[[], object]] = {EXPORT: export, **ours, AGAIN: export, **count}
    calls = {counter: partial(_deeper, cycle(DEPTHS), call) for counter, call in calls.items()}
    # As in timeit: turns are alike, so collections would strike the same candidate in each of them
    # for what another has left. They come at the end of a turn instead.
    gc.collect()
    gc.disable()
    try:
        with quiet():
            times = latency(calls | {COLLECT: gc.collect}, seconds=0, minimum=runs)
    finally:
        gc.enable()
    del times[COLLECT]
    alone = min(times[EXPORT].median_ms, times[AGAIN].median_ms)
    return [
        {
            "network": name,
            "counter": counter,
            "median_ms": time.median_ms,
            "low_ms": time.low_ms,
            "high_ms": time.high_ms,
            "runs": time.runs,
            "ratio": time.median_ms / alone,
            "goal": GOAL if counter == CONVSMITH.name else None,
        }
        for counter, time in times.items()
    ]


def _deeper(depths: Iterator[int], call: Callable[[], object]) -> object:
    def at(depth: int) -> object:
        return at(depth - 1) if depth else call()

    return at(next(depths))


def _cases(counters: Sequence[Peer]) -> list[dict[str, Any]]:
    found = []
    for case in CASES:
        model = case.build().eval()
        network = cs.trace(model, case.shape)
        figures: dict[str, float | None] = {}
        verdicts: dict[str, str] = {}
        unexplained: dict[str, int] = {}
        for counter in counters:
            try:
                said, told = counter.count(model, torch.rand(case.shape))
            except Refused as error:
                figures[counter.name], verdicts[counter.name] = None, f"refused: {error}"
                continue
            macs = figures[counter.name] = _whole(said / counter.unit)
            exact = macs == case.macs
            verdicts[counter.name] = "exact" if exact else _off(macs / case.macs) + "*" * told
            unexplained[counter.name] = macs - sum(_terms(counter, network).values())
        found.append(
            {
                "case": case.name,
                "input": list(case.shape),
                "macs": case.macs,
                "figures": figures,
                "verdicts": verdicts,
                "unexplained": unexplained,
            }
        )
    return found


def _left(counters: Sequence[Peer]) -> list[dict[str, Any]]:
    """Each counter on a network in training whose first blocks are frozen."""
    found = []
    for counter in counters:
        changed = []
        for channels in (3, 4):  # the second does not fit
            model = module("mobilenet_v2").train()
            for block in list(model.children())[:4]:
                block.eval()
            example = torch.rand(2, channels, 64, 64)
            changed.append(left_behind(model, partial(counter.count, model, example)))
        found.append({"counter": counter.name, "changed": changed[0], "after_failure": changed[1]})
    return found


def _whole(value: float) -> int:
    if value != int(value):
        raise ValueError(f"half an operation: {value}")
    return int(value)


def _off(ratio: float) -> str:
    return "0" if ratio == 0 else f"×{ratio:.3g}"
