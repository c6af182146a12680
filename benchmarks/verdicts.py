"""Which tool is right about which of the thirty samples: parameters, MACs, receptive field.

`python -m benchmarks.verdicts TOOL` prints what one tool says of all of them, as JSON: every tool
has a process of its own.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

import convsmith as cs
from benchmarks.probe import seen
from benchmarks.samples import SAMPLES, Sample
from benchmarks.witnesses import QUANTITIES, WITNESSES, Witness, answers
from convsmith.measure.counters import count_as

__all__ = ["judged", "truth"]

ROOT = Path(__file__).parents[1]
SECONDS = 60
"""Seconds for one network; a tool that needs longer counts as refusing."""

# Terms of `count_as` that are a tool's own additions, and not multiply-adds counted otherwise.
_ADDED = ("parameters, once a sample", "biases, once a sample")


def truth(sample: Sample) -> dict[str, Any]:
    """Parameters and MACs by hand; the field of the last map's middle position by its gradient."""
    found: dict[str, Any] = {"params": sample.params, "macs": sample.macs}
    if sample.has_map:
        read = seen(sample.make(), sample.example(), sample.last)
        places = read.nonzero()
        size = places.max(0).values - places.min(0).values + 1
        found |= {"size": size.tolist(), "positions": len(places)}
    return found


def judged() -> dict[str, Any]:
    """Every tool's answers on every sample, and the verdicts."""
    truths = {sample.name: truth(sample) for sample in SAMPLES}
    rows: list[dict[str, Any]] = []
    for witness in WITNESSES:
        said = {} if witness.missing else _asked(witness)
        for sample in SAMPLES:
            for quantity in QUANTITIES:
                true = truths[sample.name].get(quantity)
                if true is None or quantity not in witness.offers:
                    continue
                answer = said.get(sample.name, {}).get(quantity, {"refused": witness.missing})
                added = _added(witness, sample) if quantity == "macs" else []
                rows.append(
                    {"network": sample.name, "tool": witness.name, "quantity": quantity,
                     "truth": true, **_verdict(answer, true, added)}
                )  # fmt: skip
    return {
        "networks": [
            {"network": sample.name, "input": list(sample.shape), **truths[sample.name]}
            for sample in SAMPLES
        ],
        "tools": [
            {"tool": witness.name, "version": witness.version, "offers": list(witness.offers),
             "missing": witness.missing}
            for witness in WITNESSES
        ],
        "verdicts": rows,
    }  # fmt: skip


def _verdict(answer: dict[str, Any], true: Any, added: list[int]) -> dict[str, Any]:
    """`right`, `wrong` or `refused`; the last also if a tool says that its figure is only a bound.

    A right figure is right, bound or not; a bound on the wrong side of the truth is wrong. A total
    may have some of the tool's own additions on top: which, a graph does not always tell.
    """
    if "figure" not in answer:
        return {"verdict": "refused", "figure": None, "bound": "", "reason": answer["refused"]}
    figure, bound = answer["figure"], answer["bound"]
    if isinstance(figure, list):
        # A tool that gives one number for a field is asked about the first axis.
        pairs = list(zip(figure, true, strict=False))
        right = bool(pairs) and all(f == t for f, t in pairs)
        below, above = all(f <= t for f, t in pairs), all(f >= t for f, t in pairs)
    else:
        right = any(figure - sum(some) == true for some in _subsets(added))
        below, above = figure - sum(added) < true, figure > true
    honest = (bound == "lower" and below) or (bound == "upper" and above)
    verdict = "right" if right else "refused" if honest else "wrong"
    return {"verdict": verdict, "figure": figure, "bound": bound, "reason": ""}


def _subsets(terms: list[int]) -> Iterator[tuple[int, ...]]:
    for size in range(len(terms) + 1):
        yield from combinations(terms, size)


def _added(witness: Witness, sample: Sample) -> list[int]:
    """What a tool counts on top by its own rules: norms, activations, pools, biases."""
    if not witness.tool:
        return []
    terms = count_as(cs.trace(sample.make(), sample.shape), witness.tool).terms
    ruled = [n for title, n in terms.items() if title[0].isdigit() or title.endswith(_ADDED)]
    return ruled + [n for tool, n in sample.aside.items() if tool == witness.tool]


def _asked(witness: Witness) -> dict[str, dict[str, Any]]:
    """What a tool reports for each sample, asked in a separate process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.verdicts", witness.name],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        refused = {quantity: {"refused": reason} for quantity in witness.offers}
        return {sample.name: refused for sample in SAMPLES}
    return dict(json.loads(done.stdout))


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in a call that takes longer, if the system has an alarm."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _testify(name: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    witness = next(witness for witness in WITNESSES if witness.name == name)
    found = {}
    for sample in SAMPLES:
        with _limited(SECONDS):
            found[sample.name] = answers(witness, sample.make(), sample.example(), sample.last)
    return found


if __name__ == "__main__":
    print(json.dumps(_testify(sys.argv[1])))
