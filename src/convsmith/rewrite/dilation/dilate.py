"""`dilate`: the strides of a trained network become dilations, and its weights stay right."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from convsmith.errors import ArgumentError, TraceError
from convsmith.network import Network, trace
from convsmith.report import Result, Table
from convsmith.rewrite.dilation.certificate import Certificate
from convsmith.rewrite.dilation.evidence import (
    Work,
    changed_layers,
    evidence,
    figures_at,
    same_layer,
)
from convsmith.rewrite.dilation.graph import on_graph
from convsmith.rewrite.dilation.modules import NoModule, on_modules
from convsmith.rewrite.dilation.plan import Plan, Refusal
from convsmith.rewrite.dilation.request import (
    Rates,
    judged_layers,
    layers_in,
    some_of,
    striding_of,
    with_rates,
)
from convsmith.rewrite.dilation.rule import plan
from convsmith.rewrite.recipe import lighter_layers, save

__all__ = ["Dilated", "dilate"]


@dataclass(frozen=True)
class Dilated(Result):
    """A network whose strides became dilations, and the evidence.

    Attributes:
        model: the new network, with the weights of the original, which is as it was.
        certificate: what it gives on the old grid, measured.
        changed: the modules that were changed or replaced.
        fixed: why the model is an exported graph, fixed to the example's size; '' if it is not.
        network: the new network, traced; None for one that was not traced here.
    """

    model: nn.Module
    certificate: Certificate
    changed: tuple[str, ...] = ()
    fixed: str = ""
    network: Network | None = field(default=None, repr=False, compare=False)

    def save(self, folder: str | Path, *, origin: str = "", force: bool = False) -> Path:
        """Write weights, changes and certificate to a folder; `convsmith.load` reads them.

        The keys are those of the original: `load_state_dict` of either network takes the weights.
        An exported graph is written, but not built again by `load`.

        Args:
            folder: made if need be.
            origin: what the original was built from, for the record.
            force: overwrite what is there.

        Raises:
            ArgumentError: if the folder holds weights or a recipe and `force` is false.
        """
        report = self.certificate.to_dict()
        paths = () if self.fixed else self.changed
        lighter = () if self.fixed else lighter_layers(self.model)
        return save(
            self.model, folder, lighter, dilated=paths, fixed=self.fixed, report=report,
            origin=origin, force=force,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"Dilated({self.certificate!r})"

    def table(self) -> Table:
        """The comparisons of its certificate."""
        return self.certificate.table()

    def to_dict(self) -> dict[str, Any]:
        """Its certificate as plain data."""
        return self.certificate.to_dict()


def dilate(
    model: nn.Module,
    example: Any,
    *,
    output_stride: int | Sequence[int] | None = None,
    layers: str | Sequence[str] | None = None,
    rates: Rates | None = None,
    features: str | Sequence[str] | None = None,
    strict: bool = True,
    seed: int = 0,
) -> Dilated:
    """Trade strides for dilations so that maps are finer and the trained weights still fit.

    Let r be the old cumulative stride over the new one. Each convolution and pool takes r times its
    dilation and padding, weights unchanged; the layer that loses its stride keeps the dilation of
    its input. Then `new(x)[..., ::r, ::r] == old(x)`, for any kernel, padding and size. The
    certificate says how far that was found to hold, on random inputs in float64.

    Args:
        model: any network that can be traced; it is left as it was.
        example: a tensor or shape of the size that the network is for (see `trace`).
        output_stride: the largest cumulative stride that is left, one number or one per axis.
        layers: or the modules (or layers) that lose their stride, by name.
        rates: dilations beyond the exact rule, afterwards: by module, or one for each dilated
            convolution in order of execution. Padding follows, so that sizes stay.
        features: modules (or layers) at whose results equality has to hold, in place of what the
            model returns. What follows them is dilated as well, but not judged; where it cannot
            run on the finer map, the new model ends at the features.
        strict: refuse what is not exact. Otherwise it is passed with a warning.
        seed: seed for the random inputs.

    Raises:
        ArgumentError: if the theorem does not hold for a result that is judged: every layer that
            breaks it, and why; or for arguments that fit no layer.
        TraceError: if the model cannot be captured.

    >>> model = nn.Sequential(
    ...     nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 4, 3)
    ... )
    >>> dilated = dilate(model, (1, 3, 32, 32), output_stride=2)
    >>> dilated.model[2].stride, dilated.model[3].dilation, dilated.certificate.exact
    ((1, 1), (2, 2), True)
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"expected a torch.nn.Module, not {type(model).__name__}")
    network = trace(model, example)
    striding = striding_of(network, output_stride, layers)
    exact = plan(network, striding)
    whole, changed_rates = with_rates(network, exact, rates)
    judged = judged_layers(network, features)
    broken = _refusals(network, exact, judged.values())
    if broken and strict:
        raise ArgumentError(
            refusal_message(network, exact, broken, judged, asked=features is not None)
        )
    work = _carry_out(network, model, example, whole, judged, cut=features is not None)
    hidden = [r for r in exact.refusals if r not in broken]
    notes = list(work.notes)
    if hidden:
        notes.append(f"after what is judged: {some_of(map(str, hidden))}")
    if broken:
        warnings.warn(
            f"{network.name} is not dilated exactly: {some_of(map(str, broken))}", stacklevel=2
        )
    equalities, more = evidence(network, model, example, exact, judged, work, seed)
    judge = next(iter(judged.values()))
    theorem = None
    if changed_rates:
        plain = _carry_out(network, model, example, exact, judged, cut=features is not None)
        theorem = figures_at(plain.network, same_layer(plain, network, judge))
    certificate = Certificate(
        model=network.name,
        equalities=equalities,
        refusals=tuple(map(str, broken)),
        rates=changed_rates,
        changes=changed_layers(network, whole),
        notes=(*notes, *more),
        before=figures_at(network, judge),
        after=figures_at(work.network, same_layer(work, network, judge)),
        by_theorem=theorem,
        seed=seed,
    )
    return Dilated(work.model, certificate, work.changed, "; ".join(work.notes), work.network)


# What breaks the theorem


def _refusals(network: Network, exact: Plan, layers: Any) -> list[Refusal]:
    refusals = [refusal for layer in layers for refusal in exact.upstream(network, layer)]
    return list(dict.fromkeys(refusals))


def refusal_message(
    network: Network, exact: Plan, broken: Sequence[Refusal], judged: Mapping[str, str], asked: bool
) -> str:
    message = f"{network.name} cannot be dilated exactly: {some_of(map(str, broken))}"
    if any("circular" in refusal.reason for refusal in broken):
        return f"{message}; try another input size, or pass strict=False to continue anyway"
    last = None if asked else _last_exact(network, exact, judged)
    if last:
        hint = f"pass features={last!r} to check only up to the last exact map, or strict=False"
    else:
        hint = "pass strict=False"
    return f"{message}; {hint} to continue anyway"


def _last_exact(network: Network, exact: Plan, judged: Mapping[str, str]) -> str | None:
    """The shortest name of the last map that follows no refusal."""
    broken = {refusal.layer for refusal in exact.refusals}
    affected = set(broken)
    last = None
    ways = {up.name for layer in judged.values() for up in network.upstream(layer)}
    for layer in network:
        if affected.intersection(layer.inputs):
            affected.add(layer.name)
        rates = exact.rates(layer.name)
        if layer.name in ways and layer.name not in affected and rates and max(rates) > 1:
            last = layer
    if last is None:
        return None
    parts = last.path.split(".") if last.path else []
    for n in range(1, len(parts) + 1):
        prefix = ".".join(parts[:n])
        if layers_in(network, prefix)[-1].name == last.name:
            return prefix
    return last.name


# What is done about it


def _carry_out(
    network: Network,
    model: nn.Module,
    example: Any,
    whole: Plan,
    judged: Mapping[str, str],
    *,
    cut: bool,
) -> Work:
    notes: list[str] = []
    copy = deepcopy(model)
    try:
        paths = on_modules(network, copy, whole)
        return Work(copy, trace(copy, example), changed=paths)
    except NoModule as reason:
        notes.append(
            f"the exported graph was changed, since {reason}: fixed to the example's size and to "
            "evaluation"
        )
    except TraceError as error:
        failed = error
        notes.clear()
    nodes = {name: network[layer].node for name, layer in judged.items()}
    if notes:
        graph = on_graph(network, whole)
        try:
            return Work(graph, trace(graph, example), nodes, False, tuple(notes))
        except TraceError as error:
            failed = error
    if not cut:
        reasons = some_of(map(str, whole.refusals)) or str(failed)
        raise ArgumentError(f"{network.name} cannot run when it is dilated: {reasons}") from failed
    graph = on_graph(network, whole, last=list(judged.values()))
    reasons = some_of(map(str, whole.refusals))
    notes = [
        f"the model ends at its features, as an exported graph for the example's size: what "
        f"follows cannot run on the finer map ({reasons})"
    ]
    return Work(graph, trace(graph, example), nodes, True, tuple(notes))
