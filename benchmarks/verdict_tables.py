"""The tables of the thirty networks, of the views and of peak memory, from plain results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.views import EXPORT, GOAL, VIEWS
from benchmarks.witnesses import QUANTITIES
from convsmith.report import Column, Table, bytes_, count, shape

__all__ = ["peak_table", "verdict_tables", "view_tables"]

RIGHT, REFUSED = "✓", "–"


def view_tables(result: dict[str, Any]) -> Sequence[Table]:
    """Seconds for all views: of networks, and of plain layers."""
    runs = result["views"][0]["runs"]
    return [
        _timed("network", "network", result["views"], note=_view_note(runs)),
        _timed("count", "plain layers", result["layers"], note=_layer_note(result["layers"])),
    ]


def _timed(key: str, title: str, rows: Sequence[dict[str, Any]], note: str) -> Table:
    def seconds(key: str) -> Column:
        return Column(key, key, align="right", format="{:.2f} s".format)

    columns = [Column(key, title), Column("layers", "layers", align="right", format=count)]
    columns += [seconds(name) for name in (EXPORT, *VIEWS, "sum")]
    if "each" in rows[0]:
        columns.append(
            Column("each", "per layer", align="right", format=lambda s: f"{1000 * s:.1f} ms")
        )
    return Table(
        columns,
        [{column.key: row[column.key] for column in columns} for row in rows],
        title="Everything that inspect shows except latency",
        note=note,
    )


def _view_note(runs: int) -> str:
    return (
        f"1×3×224×224 on the meta device, after imports; the run with the median sum of up to "
        f"{runs}, and the fastest torch.export alone, which is part of inspect. Goal: a sum of "
        f"{GOAL} s."
    )


def _layer_note(rows: Sequence[dict[str, Any]]) -> str:
    first, last = rows[0], rows[-1]
    return (
        f"3×3 convolutions in series on 1×8×32×32. From {first['count']} to "
        f"{last['count']:,} layers the time grows {last['sum'] / first['sum']:.0f}-fold."
    )


def peak_table(result: dict[str, Any]) -> Table:
    """Bytes of activations at the peak, predicted, measured and estimated, and their ratios."""
    rows = []
    for row in result["peaks"]:
        whole = row["allocated"] + row["held"]
        rows.append(
            {
                **{key: row[key] for key in ("network", "foretold", "tensors", "allocated")},
                "ratio": row["foretold"] / row["tensors"],
                "whole": (row["foretold"] + row["held"]) / whole,
                "torchinfo": row["torchinfo"],
                "theirs": row["torchinfo"] and row["torchinfo"] / row["tensors"],
            }
        )

    def size(key: str, title: str) -> Column:
        return Column(key, title, align="right", format=bytes_)

    def ratio(key: str, title: str) -> Column:
        return Column(key, title, align="right", format="×{:.2f}".format)

    return Table(
        (
            Column("network", "network"),
            size("foretold", "convsmith"),
            size("tensors", "measured, tensors"),
            ratio("ratio", "convsmith to it"),
            size("torchinfo", "torchinfo"),
            ratio("theirs", "torchinfo to it"),
            size("allocated", "measured, allocator"),
            ratio("whole", "convsmith to it, with weights"),
        ),
        rows,
        title="Peak memory of activations in one forward pass without gradients",
        note="1×3×224×224. Tensors: every storage as it comes and goes. Allocator: also what "
        "kernels take, such as the packed copy of a weight; the last ratio has weights and input "
        "on both sides. torchinfo: its forward/backward pass size, twice the outputs of all layers "
        "with parameters.",
    )


def verdict_tables(result: dict[str, Any]) -> Sequence[Table]:
    """Costs, receptive fields, and the sums of verdicts per tool."""
    found = result["thirty"]
    by = {(row["network"], row["tool"], row["quantity"]): row for row in found["verdicts"]}
    return [
        _costs(found, by),
        _fields(found, by),
        _sums(found),
    ]


_Rows = dict[tuple[str, str, str], dict[str, Any]]


def _costs(found: dict[str, Any], by: _Rows) -> Table:
    def cell(network: str, tool: str) -> str:
        marks = [_mark(by[network, tool, quantity]) for quantity in ("params", "macs")]
        return " ".join(marks)

    tools = [tool["tool"] for tool in found["tools"]]
    return Table(
        (
            Column("network", "network"),
            Column("params", "parameters", align="right", format=count),
            Column("macs", "MACs", align="right", format=count),
            *(Column(tool, tool, align="right") for tool in tools),
        ),
        [
            {key: row[key] for key in ("network", "params", "macs")}
            | {tool: cell(row["network"], tool) for tool in tools}
            for row in found["networks"]
        ],
        title="Thirty networks: parameters and MACs",
        note=f"The truth is counted by hand. {RIGHT}: right; ×4: four times the truth; {REFUSED}: "
        "no figure, or one that the tool itself calls incomplete. What a tool adds by its own "
        "rules (norms, activations, pools, biases) is allowed. " + _versions(found),
    )


def _fields(found: dict[str, Any], by: _Rows) -> Table:
    tools = [tool["tool"] for tool in found["tools"] if "size" in tool["offers"]]
    rows = []
    for row in found["networks"]:
        if "size" not in row:
            continue
        marks = {}
        for tool in tools:
            asked = [by.get((row["network"], tool, quantity)) for quantity in QUANTITIES[2:]]
            marks[tool] = " ".join(_mark(answer) for answer in asked if answer)
        rows.append({"network": row["network"], "size": row["size"],
                     "positions": row["positions"]} | marks)  # fmt: skip
    return Table(
        (
            Column("network", "network"),
            Column("size", "field", align="right", format=shape),
            Column("positions", "positions", align="right", format=count),
            *(Column(tool, tool, align="right") for tool in tools),
        ),
        rows,
        title="Thirty networks: the receptive field of the last map's middle position",
        note="Truth, by the gradient probe: the size, and the positions that are really read. A "
        "network without a map has no field. TorchLens: its geometry, and the gradient masks of "
        "all channels on the captured input, a lower bound after a max pool. torchscan: the "
        "figure in the row of the last map, which is that module's own window, for the first axis.",
    )


def _sums(found: dict[str, Any]) -> Table:
    counted = Counter((row["tool"], row["quantity"], row["verdict"]) for row in found["verdicts"])
    titles = dict(zip(QUANTITIES, ("parameters", "MACs", "field", "positions"), strict=True))
    verdicts = ("right", "wrong", "refused")

    def cell(tool: dict[str, Any], quantity: str) -> str:
        if quantity not in tool["offers"]:
            return "not offered"
        return " / ".join(str(counted[tool["tool"], quantity, verdict]) for verdict in verdicts)

    return Table(
        (Column("tool", "tool"), *(Column(q, titles[q], align="right") for q in QUANTITIES)),
        [
            {"tool": tool["tool"]} | {q: cell(tool, q) for q in QUANTITIES}
            for tool in found["tools"]
        ],
        title="Thirty networks: right / wrong / refused",
        note=" ".join(f"{t['tool']}: {t['missing']}." for t in found["tools"] if t["missing"])
        or None,
    )


def _mark(row: dict[str, Any]) -> str:
    if row["verdict"] == "right":
        return RIGHT
    if row["verdict"] == "refused":
        return REFUSED
    figure = row["figure"]
    if isinstance(figure, list):
        return shape(figure)
    if row["quantity"] == "positions":
        return count(figure)
    return "0" if figure == 0 else f"×{figure / row['truth']:.3g}"


def _versions(found: dict[str, Any]) -> str:
    versions = [f"{t['tool']} {t['version']}" for t in found["tools"] if t["version"]]
    return f"Versions: {', '.join(versions)}."
