"""`dilate`: the strides of a trained network become dilations, and its weights stay right."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from convsmith.errors import ArgumentError, ConvsmithError, TraceError
from convsmith.network import Layer, Network, trace
from convsmith.network.example import example_inputs
from convsmith.network.modules import copied, plain
from convsmith.report import Result, Table
from convsmith.rewrite.dilation.certificate import Certificate, Equality
from convsmith.rewrite.dilation.evidence import (
    Work,
    changed_layers,
    evidence,
    figures_at,
    same_layer,
)
from convsmith.rewrite.dilation.graph import on_graph
from convsmith.rewrite.dilation.modules import NoModule, on_modules
from convsmith.rewrite.dilation.plan import Plan, Refusal, Striding
from convsmith.rewrite.dilation.request import (
    Rates,
    judged_layers,
    layers_in,
    some_of,
    striding_of,
    with_rates,
)
from convsmith.rewrite.dilation.rule import plan
from convsmith.rewrite.dilation.strides import strides_at, too_coarse
from convsmith.rewrite.recipe import lighter_layers, save
from convsmith.rewrite.surgery import working_copy
from convsmith.text import times

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
    job = _Job.of(plain(model), example, output_stride, layers, rates, features, seed)
    if strict and (job.broken or job.coarse):
        raise ArgumentError(refusal_message(job))
    try:
        work, equalities, more = job.attempt(job.whole)
    except ArgumentError as error:
        raise ArgumentError(f"{error}{_advice(job, runs=False)}") from error
    by_rule = None
    if job.changed_rates:
        by_rule, judged_by_rule, _ = job.attempt(job.exact)
    certificate = job.certificate(work, equalities, more, by_rule)
    rows = judged_by_rule if by_rule is not None else equalities
    unexplained = (
        "" if _all_exact(rows) or job.broken else f"{_differing(rows)}, for no known reason"
    )
    if strict and unexplained:
        raise ArgumentError(f"{job.network.name} cannot be dilated exactly: {unexplained}")
    problems = [*map(str, (*job.broken, *job.coarse)), *filter(None, [unexplained])]
    if problems:
        warnings.warn(
            f"{job.network.name} is not dilated exactly: {some_of(problems)}", stacklevel=2
        )
    if not job.whole.changes:
        warnings.warn(f"{job.network.name}: {_NOTHING}", stacklevel=2)
    return Dilated(work.model, certificate, work.changed, "; ".join(work.notes), work.network)


_TRIES = 3
"""How many of the last exact maps are tried before none is advised."""
_NOTHING = "nothing was changed: there is no stride to remove"


@dataclass(frozen=True)
class _Job:
    """One call of `dilate`, once its arguments are known to fit.

    Attributes:
        model: the user's own, which is only copied.
        example: of its input.
        network: traced from its shadow.
        striding: which strides go.
        exact: what becomes of each layer by the theorem.
        whole: the same with the user's rates.
        changed_rates: what these changed.
        judged: what is compared, and its layer.
        named: whether the user said what is judged.
        broken: what breaks the theorem on the way.
        coarse: layers whose maps stay coarser than was asked for.
        seed: for the random inputs.
        asked: the output stride, layers, rates and features that the user named.
    """

    model: nn.Module
    example: Any
    network: Network
    striding: Striding
    exact: Plan
    whole: Plan
    changed_rates: tuple[str, ...]
    judged: Mapping[str, str]
    named: bool
    broken: tuple[Refusal, ...]
    coarse: tuple[Refusal, ...]
    seed: int
    asked: tuple[Any, ...]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        example: Any,
        output_stride: int | Sequence[int] | None,
        layers: str | Sequence[str] | None,
        rates: Rates | None,
        features: str | Sequence[str] | None,
        seed: int,
    ) -> _Job:
        """Trace, plan, and find what stands in the way."""
        network = trace(_working(model, example), example)
        striding = striding_of(network, output_stride, layers)
        exact = plan(network, striding)
        whole, changed_rates = with_rates(network, exact, rates)
        judged = judged_layers(network, features, example)
        ways = (refusal for x in judged.values() for refusal in exact.upstream(network, x))
        coarse = too_coarse(network, exact, striding, list(judged.values()))
        return cls(
            model, example, network, striding, exact, whole, changed_rates, judged,
            features is not None, tuple(dict.fromkeys(ways)),
            tuple(
                Refusal(name, network[name].path or name, f"a stride of {float(stride):g} is left")
                for name, stride in coarse.items()
            ),
            seed, (output_stride, layers, rates, features),
        )  # fmt: skip

    def attempt(self, plan: Plan) -> tuple[Work, tuple[Equality, ...], list[str]]:
        """Carry a plan out and compare: the new network, the comparisons, and notes on them."""
        work = _carry_out(self, plan, self.judged, cut=self.named)
        found = evidence(
            self.network, self.model, self.example, self.exact, self.judged, work, self.seed
        )
        return work, *found

    def certificate(
        self,
        work: Work,
        equalities: tuple[Equality, ...],
        notes: Sequence[str],
        by_rule: Work | None,
    ) -> Certificate:
        """Everything that was established."""
        hidden = [refusal for refusal in self.exact.refusals if refusal not in self.broken]
        first = list(work.notes)
        if hidden:
            first.append(f"after what is judged: {some_of(map(str, hidden))}")
        if not self.whole.changes:
            first.append(_NOTHING)
        judge = next(iter(self.judged.values()))
        before, after = strides_at(self.network, self.exact, judge)
        theorem = None
        if by_rule is not None:
            theorem = figures_at(by_rule.network, same_layer(by_rule, self.network, judge), after)
        return Certificate(
            model=self.network.name,
            equalities=equalities,
            refusals=tuple(map(str, self.broken)),
            coarse=tuple(map(str, self.coarse)),
            rates=self.changed_rates,
            changes=changed_layers(self.network, self.whole),
            notes=(*first, *notes),
            before=figures_at(self.network, judge, before),
            after=figures_at(work.network, same_layer(work, self.network, judge), after),
            by_theorem=theorem,
            seed=self.seed,
        )


def _all_exact(rows: Sequence[Equality]) -> bool:
    found = [row.exact for row in rows if row.at_example]
    return bool(found) and all(found)


def _differing(rows: Sequence[Equality]) -> str:
    return some_of(
        f"{row.name!r} differs by {row.relative:.1e} of its largest value"
        for row in rows
        if row.at_example and not row.exact
    )


# What breaks the theorem, and what can be done


def refusal_message(job: _Job) -> str:
    """Why a network cannot be dilated exactly, and what works: all that is advised was tried."""
    network = job.network
    if not job.broken:
        return (
            f"{network.name} cannot reach the output stride that was asked for: "
            f"{some_of(map(str, job.coarse))}{_advice(job)}"
        )
    return (
        f"{network.name} cannot be dilated exactly: {some_of(map(str, job.broken))}{_advice(job)}"
    )


def _advice(job: _Job, *, runs: bool | None = None) -> str:
    """What the user can do, as the end of a message; '' if nothing is known to work.

    Args:
        job: what cannot be done as it is.
        runs: whether the new network runs at all, where that is known.
    """
    found = []
    if any("circular" in refusal.reason for refusal in job.broken):
        found += _other_size(job)
    exact_maps = [] if job.named else _exact_maps(job.network, job.exact, job.judged)
    last = next((name for name in exact_maps[:_TRIES] if _works_up_to(job, name)), None)
    if last:
        found.append(f"pass features={last!r} to check only up to the last exact map")
    if runs is None:
        runs = _runs(job)
    if runs:
        found.append("pass strict=False to continue anyway")
    return f"; {', or '.join(found)}" if found else ""


def _works_up_to(job: _Job, name: str) -> bool:
    judged = judged_layers(job.network, name)
    layers = list(judged.values())
    if any(job.exact.upstream(job.network, layer) for layer in layers) or too_coarse(
        job.network, job.exact, job.striding, layers
    ):
        return False
    try:
        other = replace(job, judged=judged, named=True)
        return _all_exact(other.attempt(job.exact)[1])
    except ConvsmithError:
        return False


def _runs(job: _Job) -> bool:
    try:
        job.attempt(job.whole)
    except ConvsmithError:
        return False
    return True


def _other_size(job: _Job) -> list[str]:
    """A size of the image that works where circular padding does not, in words."""
    shape = job.example.shape if isinstance(job.example, Tensor) else job.example
    if not all(isinstance(n, int) for n in shape):
        return []  # several inputs
    strides = [g.stride for grids in job.exact.grids.values() if grids for g in grids[0]]
    step = ceil(max(strides, default=1))
    size = (*shape[:2], *(-(-n // step) * step for n in shape[2:]))
    try:
        output_stride, layers, rates, features = job.asked
        other = _Job.of(job.model, size, output_stride, layers, rates, features, job.seed)
        if other.broken or other.coarse or not _all_exact(other.attempt(other.exact)[1]):
            return []
    except ConvsmithError:
        return []
    return [f"pass an example of {times(size)}"]


def _exact_maps(network: Network, exact: Plan, judged: Mapping[str, str]) -> list[str]:
    """The shortest names of finer maps that follow no refusal, the last one first."""
    affected = {refusal.layer for refusal in exact.refusals}
    ways = {up.name for layer in judged.values() for up in network.upstream(layer)}
    ways |= set(judged.values())
    maps = []
    for layer in network:
        if affected.intersection(layer.inputs):
            affected.add(layer.name)
        rates = exact.rates(layer.name)
        if layer.name in ways and layer.name not in affected and rates and max(rates) > 1:
            maps.append(layer)
    return list(dict.fromkeys(_shortest_name(network, layer) for layer in reversed(maps)))


def _shortest_name(network: Network, layer: Layer) -> str:
    parts = layer.path.split(".") if layer.path else []
    for n in range(1, len(parts) + 1):
        prefix = ".".join(parts[:n])
        if layers_in(network, prefix)[-1].name == layer.name:
            return prefix
    return layer.name


# What is done about it


def _working(model: nn.Module, example: Any) -> nn.Module:
    args, kwargs = example_inputs(model, example)
    return working_copy(model, *args, **kwargs)


def _carry_out(job: _Job, whole: Plan, judged: Mapping[str, str], *, cut: bool) -> Work:
    """Change the modules of a copy; or the exported graph; or that of what is judged alone."""
    network, example = job.network, job.example
    changed = copied(job.model)
    try:
        paths = on_modules(network, changed, whole)
        return Work(changed, trace(_working(changed, example), example), changed=paths)
    except NoModule as reason:
        note = (
            f"the exported graph was changed, since {reason}: fixed to the example's size and to "
            "evaluation, and its modules are no longer called, nor are their hooks"
        )
        failed: TraceError | None = None
    except TraceError as error:
        failed = error
    nodes = {name: network[layer].node for name, layer in judged.items()}
    if failed is None:
        try:
            graph = on_graph(network, whole)
            return Work(graph, trace(graph, example), nodes, False, (note,))
        except TraceError as error:
            failed = error
    reasons = some_of(map(str, whole.refusals)) or str(failed)
    try:
        if cut:
            graph = on_graph(network, whole, last=list(judged.values()))
            note = (
                f"the model ends at its features, as an exported graph for the example's size: "
                f"what follows cannot run on the finer map ({reasons})"
            )
            return Work(graph, trace(graph, example), nodes, True, (note,))
    except TraceError as error:
        failed = error
    raise ArgumentError(f"{network.name} cannot run when it is dilated: {reasons}") from failed
