"""Tools that report what a network has, costs or sees, each asked in the way it documents.

A witness runs in a process of its own, because some patch torch for good. What it says is kept as
it is; `benchmarks.verdicts` judges it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

import convsmith as cs
from benchmarks.machine import version
from benchmarks.peers import Refused, ptflops_totals, quiet

__all__ = ["QUANTITIES", "WITNESSES", "Answer", "Witness"]

QUANTITIES = ("params", "macs", "size", "positions")

_COUNTED = ("Conv", "Linear", "Attention")  # in the names of the modules that multiply and add


@dataclass(frozen=True)
class Answer:
    """What a tool reports for one quantity.

    Attributes:
        figure: a number, or a receptive field's size along each axis it tells.
        bound: 'lower' or 'upper' where the tool itself says that its figure is only that.
    """

    figure: int | tuple[int, ...]
    bound: str = ""


Questions = Mapping[str, Callable[[], Answer]]


@dataclass(frozen=True)
class Witness:
    """A tool and how to ask it.

    Attributes:
        name: as people call it.
        module: what is imported.
        ask: from a model, an input and the path of the last map to the questions it can be asked.
        tool: what `count_as` calls it, '' where its figure needs no rules.
        offers: the quantities it has a figure for, of any network.
    """

    name: str
    module: str
    ask: Callable[[nn.Module, Tensor, str], Questions]
    tool: str = ""
    offers: tuple[str, ...] = ("params", "macs")

    @property
    def version(self) -> str | None:
        """The installed version, or None."""
        return version(self.module.partition(".")[0])

    @property
    def missing(self) -> str:
        """Why it cannot be asked, or ''."""
        return "" if self.version else "not installed"


def _convsmith(model: nn.Module, example: Tensor, last: str) -> Questions:
    report = cs.inspect(model, example)

    def field() -> Any:
        found = report.field_of(last) if last else report.receptive_field
        if found is None:
            raise Refused("no receptive field")
        return found

    def bound() -> str:
        return "upper" if field().status == "upper bound" else ""

    return {
        "params": lambda: Answer(report.params),
        "macs": lambda: Answer(report.macs, "" if report.status == "exact" else "lower"),
        "size": lambda: Answer(field().size, bound()),
        "positions": lambda: Answer(field().region.count(), bound()),
    }


def _torchlens(model: nn.Module, example: Tensor, last: str) -> Questions:
    torchlens = import_module("torchlens")
    image = example.requires_grad_()
    # What its own message asks for where gradients are wanted afterwards.
    capture = torchlens.options.CaptureOptions(backward_ready=True)
    trace = torchlens.trace(model, image, capture=capture, save_mode="reference")

    shown = trace[last or trace.output_layers[0]]

    def seen() -> Any:
        return shown.receptive_field

    def macs() -> Answer:
        boundary = ("is_input", "is_output", "is_buffer")
        counted = [op for op in trace.layer_list if not any(getattr(op, x) for x in boundary)]
        unknown = any(op.flops_forward is None for op in counted)
        partly = unknown or bool(trace.macs_unknown_split_ops)
        return Answer(int(trace.total_macs_forward), "lower" if partly else "")

    def size() -> Answer:
        view = seen()
        status = view.status.value
        if view.axes is None or status in ("unknown", "unsupported", "data_dependent"):
            raise Refused(f"status {status}")
        windowed = any(axis.kind == "windowed" for axis in view.axes)
        box = view.at("center").axes if windowed else view.axes
        extents = tuple(
            axis.clipped_stop - axis.clipped_start if axis.kind == "windowed" else extent
            for axis, extent in zip(box[2:], example.shape[2:], strict=True)
        )
        return Answer(extents, "upper" if status == "upper_bound" else "")

    def positions() -> Answer:
        # It probes one element, and channels may differ; its guide calls what it observes local
        # to the captured input, where a max pool passes on one value.
        view = seen()
        (role,) = view.per_input
        batch, _, *middle = view.center_unit(batch_index=0)
        masks = [
            view.gradient((batch, channel, *middle), input=role, retain_graph=True).support_mask
            for channel in range(shown.shape[1])
        ]
        union = torch.stack(masks).flatten(0, 2).any(0)
        return Answer(int(union.sum()), "lower")

    return {
        "params": lambda: Answer(int(trace.num_params)),
        "macs": macs,
        "size": size,
        "positions": positions,
    }


def _torchscan(model: nn.Module, example: Tensor, last: str) -> Questions:
    report = import_module("torchscan").crawl_module(model, args=(example,))
    leaves = [row for row in report["layers"] if "macs" in row["metrics"]]

    def macs() -> Answer:
        # Its norms and pools are multiply-adds too; they are rows of their own.
        rows = [row for row in leaves if any(kind in row["type"] for kind in _COUNTED)]
        known = sum(row["metrics"]["macs"]["known_value"] or 0 for row in rows)
        partial_ = report["totals"]["macs"]["status"] != "complete"
        return Answer(int(known), "lower" if partial_ else "")

    def size() -> Answer:
        rows = [row for row in leaves if row["path"] == last] if last else leaves[-1:]
        if not rows:
            raise Refused("no row for the last map")
        found = rows[-1]["metrics"]["receptive_field"]
        if found["status"] == "unavailable":
            raise Refused("unavailable")
        return Answer((int(found["known_value"]),))  # one figure, of the first axis

    return {
        "params": lambda: Answer(int(report["totals"]["parameters"]["value"])),
        "macs": macs,
        "size": size,
    }


def _fvcore(model: nn.Module, example: Tensor, last: str) -> Questions:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    def macs() -> Answer:
        found = FlopCountAnalysis(model, example)
        return Answer(int(found.total()), "lower" if found.unsupported_ops() else "")

    return {"params": lambda: Answer(int(parameter_count(model)[""])), "macs": macs}


def _ptflops(model: nn.Module, example: Tensor, last: str) -> Questions:
    found = ptflops_totals(model, example)
    if found is None:
        raise Refused("no figure: the forward pass failed")
    macs, params = found
    return _totals(params, macs)


def _thop(model: nn.Module, example: Tensor, last: str) -> Questions:
    from thop import profile

    macs, params = profile(model, inputs=(example,), verbose=False)
    return _totals(params, macs)


def _torchinfo(model: nn.Module, example: Tensor, last: str) -> Questions:
    from torchinfo import summary

    found = summary(model, input_data=example, verbose=0)
    return _totals(found.total_params, found.total_mult_adds)


def _totals(params: float, macs: float) -> Questions:
    return {"params": partial(Answer, int(params)), "macs": partial(Answer, int(macs))}


WITNESSES = (
    Witness("convsmith", "convsmith", _convsmith, offers=QUANTITIES),
    Witness("TorchLens", "torchlens", _torchlens, offers=QUANTITIES),
    Witness("torchscan", "torchscan", _torchscan, offers=("params", "macs", "size")),
    Witness("fvcore", "fvcore", _fvcore, "fvcore"),
    Witness("ptflops", "ptflops", _ptflops, "ptflops"),
    Witness("thop", "thop", _thop, "thop"),
    Witness("torchinfo", "torchinfo", _torchinfo, "torchinfo"),
)


def answers(witness: Witness, model: nn.Module, example: Tensor, last: str) -> dict[str, Any]:
    """What a witness reports for a network, per quantity, as plain data, or why it `refused`."""
    with quiet():
        try:
            questions = witness.ask(model, example, last)
        except Exception as error:  # any tool may end in any way
            return {quantity: {"refused": _said(error)} for quantity in witness.offers}
        found: dict[str, Any] = {}
        for quantity, question in questions.items():
            try:
                answer = question()
            except Exception as error:
                found[quantity] = {"refused": _said(error)}
            else:
                found[quantity] = {"figure": answer.figure, "bound": answer.bound}
        return found


def _said(error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    return reason if isinstance(error, Refused) else f"{type(error).__name__}: {reason}"
