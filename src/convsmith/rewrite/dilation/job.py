"""One call of `dilate`: its plan, the networks it makes, and what is established about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from convsmith.errors import ArgumentError, TraceError
from convsmith.network import Network, trace
from convsmith.network.example import example_inputs
from convsmith.network.modules import copied
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
    some_of,
    striding_of,
    with_rates,
)
from convsmith.rewrite.dilation.rule import plan
from convsmith.rewrite.dilation.strides import strides_at, too_coarse
from convsmith.rewrite.surgery import working_copy

__all__ = ["NOTHING", "Job", "all_exact", "differing"]

NOTHING = "nothing was changed: there is no stride to remove"


@dataclass(frozen=True)
class Job:
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
    ) -> Job:
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
            first.append(NOTHING)
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


def all_exact(rows: Sequence[Equality]) -> bool:
    """Whether something was compared at the example, and nothing differed there."""
    found = [row.exact for row in rows if row.at_example]
    return bool(found) and all(found)


def differing(rows: Sequence[Equality]) -> str:
    """What differed at the example, and by how much, in words."""
    return some_of(
        f"{row.name!r} differs by {row.relative:.1e} of its largest value"
        for row in rows
        if row.at_example and not row.exact
    )


def _working(model: nn.Module, example: Any) -> nn.Module:
    args, kwargs = example_inputs(model, example)
    return working_copy(model, *args, **kwargs)


def _carry_out(job: Job, whole: Plan, judged: Mapping[str, str], *, cut: bool) -> Work:
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
