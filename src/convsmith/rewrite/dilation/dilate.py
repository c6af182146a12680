"""`dilate`: the strides of a trained network become dilations, and its weights stay right."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from convsmith.arithmetic.normalise import seeded
from convsmith.errors import ArgumentError
from convsmith.network import Network
from convsmith.network.modules import plain
from convsmith.report import Result, Table
from convsmith.rewrite.dilation.advice import advice, refusal_message
from convsmith.rewrite.dilation.certificate import Certificate
from convsmith.rewrite.dilation.job import NOTHING, Job, all_exact, differing
from convsmith.rewrite.dilation.request import (
    Rates,
    some_of,
)
from convsmith.rewrite.leaving import export_rewritten
from convsmith.rewrite.recipe import lighter_layers, save

if TYPE_CHECKING:
    from convsmith.exporting import Exported

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

    def export(
        self, path: str | Path, example: Any = None, *, force: bool = False, **options: Any
    ) -> Exported:
        """Write the dilated network for programs without PyTorch: `convsmith.export`.

        Args:
            path: the file, `*.onnx` or `*.cvs`; the folder of a C library.
            example: as for `convsmith.export`; the one that it was dilated with unless given.
            force: replace a file that exists.
            options: further keywords of `convsmith.export`, such as `target`.

        Raises:
            ArgumentError: as `convsmith.export`, and without an example where none is known.
        """
        if example is None and self.network is not None:
            inputs = [self.network[name] for name in self.network.inputs]
            example = [(layer.shape, layer.results[0].dtype) for layer in inputs]
        return export_rewritten(self.model, example, path, force, options)

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
    job = Job.of(plain(model), example, output_stride, layers, rates, features, seeded(seed))
    if strict and (job.broken or job.coarse):
        raise ArgumentError(refusal_message(job))
    try:
        work, equalities, more = job.attempt(job.whole)
    except ArgumentError as error:
        raise ArgumentError(f"{error}{advice(job, runs=False)}") from error
    by_rule = None
    if job.changed_rates:
        by_rule, judged_by_rule, _ = job.attempt(job.exact)
    certificate = job.certificate(work, equalities, more, by_rule)
    rows = judged_by_rule if by_rule is not None else equalities
    unexplained = "" if all_exact(rows) or job.broken else f"{differing(rows)}, for no known reason"
    if strict and unexplained:
        raise ArgumentError(f"{job.network.name} cannot be dilated exactly: {unexplained}")
    problems = [*map(str, (*job.broken, *job.coarse)), *filter(None, [unexplained])]
    if problems:
        warnings.warn(
            f"{job.network.name} is not dilated exactly: {some_of(problems)}", stacklevel=2
        )
    if not job.whole.changes:
        warnings.warn(f"{job.network.name}: {NOTHING}", stacklevel=2)
    return Dilated(work.model, certificate, work.changed, "; ".join(work.notes), work.network)
