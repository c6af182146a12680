"""The tables of `benchmarks.inspect`, from its plain result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.verdict_tables import peak_table, verdict_tables, view_tables
from convsmith.measure.counters import MULTIPLY_ADDS
from convsmith.report import Column, Table, count, milliseconds

__all__ = ["tables"]


def tables(result: dict[str, Any]) -> Sequence[Table]:
    """The tables of the parts that were measured."""
    found: list[Table] = []
    if "views" in result:
        found += view_tables(result)
    if "peaks" in result:
        found.append(peak_table(result))
    if "totals" in result:
        found += [_times(result), _totals(result), _cases(result), _left(result)]
    if "thirty" in result:
        found += verdict_tables(result)
    return found


def _times(result: dict[str, Any]) -> Table:
    """One row per network: each counter's median, and its ratio to that of torch.export."""
    rows: dict[str, dict[str, Any]] = {}
    for row in result["rows"]:
        text = milliseconds(row["median_ms"])
        share = f" ({row['ratio']:.2f}×)" if row["counter"] not in result["measure"] else ""
        rows.setdefault(row["network"], {"network": row["network"]})[row["counter"]] = text + share
    names = dict.fromkeys(row["counter"] for row in result["rows"])
    runs = min(row["runs"] for row in result["rows"])
    missing = [f"{c['counter']}: {c['missing']}." for c in result["counters"] if c["missing"]]
    return Table(
        [Column("network", "network"), *(Column(n, n, align="right") for n in names)],
        list(rows.values()),
        title="Time of one call, and what it is of torch.export alone; medians",
        note=" ".join(
            [
                f"{runs} runs in turn after imports, {result['threads']} thread, 1×3×224×224; each "
                "turn at another depth of the stack, garbage collected between turns. "
                "torch.export is there twice, to show how far equals lie apart; the ratios are to "
                f"the faster. Goal: convsmith within {result['goal']}×. The peers run the network.",
                *missing,
            ]
        ),
    )


def _totals(result: dict[str, Any]) -> Table:
    rows = []
    network = None
    for total in result["totals"]:
        new, network = total["network"] != network, total["network"]
        rows.append(
            {
                "network": network if new else "",
                "counter": total["counter"],
                "macs": total["macs"],
                "beyond": total["beyond"],
                "because": total["refused"] or _because(total),
            }
        )
    return Table(
        (
            Column("network", "network"),
            Column("counter", "counter"),
            Column("macs", "total in MACs", align="right", format=count),
            Column("beyond", "beyond the truth", align="right", format="{:+,}".format),
            Column("because", "made of", wrap=True),
        ),
        rows,
        title="What each counter says, and what that is made of",
        note="The truth is the literature's for the architectures named without a library, and "
        "convsmith's figure elsewhere. "
        "FlopCounterMode counts two FLOPs a multiply-add: its total is halved.",
    )


def _because(total: dict[str, Any]) -> str:
    """The terms with their values; multiply-adds as one term if all of them are there."""
    terms = dict(total["terms"])
    counted = sum(terms[title] for title in MULTIPLY_ADDS & terms.keys())
    if counted == total["reference"]:
        terms = {"all MACs": counted} | {k: v for k, v in terms.items() if k not in MULTIPLY_ADDS}
    parts = " + ".join(f"{title} ({term:,})" for title, term in terms.items())
    rest = total["unexplained"]
    return f"{parts}: " + (f"{rest:+,} unexplained" if rest else "difference 0")


def _cases(result: dict[str, Any]) -> Table:
    names = [c["counter"] for c in result["counters"] if not c["missing"]]
    exact = {
        name: f"{sum(case['verdicts'][name] == 'exact' for case in result['cases'])} exact"
        for name in names
    }
    rest = sum(any(case["unexplained"].values()) for case in result["cases"])
    return Table(
        [
            Column("case", "network"),
            Column("macs", "MACs by hand", align="right", format=count),
            *(Column(name, name, align="right") for name in names),
        ],
        [
            {"case": case["case"], "macs": case["macs"]}
            | {name: verdict.partition(":")[0] for name, verdict in case["verdicts"].items()}
            for case in result["cases"]
        ],
        title="Networks of one operation, counted by hand",
        footer={"case": f"{len(result['cases'])} networks"} | exact,
        note="A counter that hooks modules sees neither functional calls nor operators, and a "
        "subclass is a class it does not know. Counting output positions instead of input "
        "positions makes a transposed convolution too expensive by stride². ptflops and thop "
        "add softmax and gates to attention and LSTM. *: the tool names, unasked, operations "
        "it left out. "
        + (f"{rest} rows hold figures that the counter's own rules do not explain." if rest else
           "The counters' own rules explain every figure."),
    )  # fmt: skip


def _left(result: dict[str, Any]) -> Table:
    def told(changed: list[str]) -> str:
        return ", ".join(changed) or "nothing"

    return Table(
        (
            Column("counter", "counter"),
            Column("changed", "changed by counting", wrap=True),
            Column("failed", "changed by an input that does not fit", wrap=True),
        ),
        [
            (row["counter"], told(row["changed"]), told(row["after_failure"]))
            for row in result["left_behind"]
        ],
        title="Leaves the model as it was",
        note="MobileNetV2 in training mode, its first blocks frozen in evaluation mode. "
        "FlopCounterMode only watches a call that the user makes: the call changes running "
        "statistics and draws random numbers.",
    )
