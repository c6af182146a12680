"""What a compiled network owes its original, for every set of inputs."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.kernels.isa import choose_isa
from convsmith.runtime.graph.capture import Capture
from convsmith.runtime.graph.signature import describe
from tests.runtime.several.networks import Sample

__all__ = ["agree", "called", "compiled", "differences", "is_here"]

EPSILON = torch.finfo(torch.float32).eps


def is_here(name: str) -> bool:
    """Whether this machine has an instruction set."""
    try:
        choose_isa(name)
    except ArgumentError:
        return False
    return True


def agree(sample: Sample, isas: Sequence[str], threads: int) -> list[Any]:
    """Require what `differences` looks for; the compiled networks, one per instruction set."""
    model = sample.model()
    with _shared_captures():
        made = [compiled(sample, model, isa, threads) for isa in isas]
        for isa, fast in zip(isas, made, strict=True):
            found = "\n".join(differences(sample, model, fast))
            assert not found, f"{isa}, {threads} threads: {found}\n{sample}"
    return made


@contextmanager
def _shared_captures() -> Iterator[None]:
    """Capture once for all instruction sets: it takes most of the time and knows none of them."""
    known: dict[Any, Any] = {}

    def once(name: str) -> Any:
        capture = getattr(Capture, name)

        def found(model: Any, args: Any, kwargs: Any, *free: Any) -> Any:
            key = name, id(model), describe(args, kwargs), repr(free)
            if key not in known:
                known[key] = capture(model, args, kwargs, *free)
            return known[key]

        return mock.patch.object(Capture, name, found)

    with once("of"), once("of_free_sizes"):
        yield


def compiled(sample: Sample, model: nn.Module, isa: str, threads: int) -> Any:
    """The compiled network; its example is the first set of inputs."""
    inputs = clones(sample.sets[0])
    args, kwargs = parted(inputs)
    fast = cs.compile(model, kwargs or tuple(args), isa=isa, threads=threads)
    assert not [n for n, v in inputs.items() if not _same(v, sample.sets[0][n])], sample
    return fast


def differences(sample: Sample, model: nn.Module, fast: Any) -> Iterator[str]:
    """What is other than float64 gives it, in words; each set of inputs is met twice."""
    rng = random.Random(sample.seed)
    exact_model = copy.deepcopy(model).double()
    for which in (0, 1, 2, 3, 3, 1, 0, 2):
        inputs = laid_out(sample.sets[which], rng)
        double = {n: v.double() if isinstance(v, Tensor) else v for n, v in inputs.items()}
        with torch.no_grad():
            (eager, kept), (exact, _) = called(model, inputs), called(exact_model, double)
        found, changed = called(fast, inputs)
        shapes = [tuple(v.shape) for v in inputs.values() if isinstance(v, Tensor)]
        few = 8 * EPSILON * sample.largest
        for fault in _faults((found, changed), (eager, kept), exact, few):
            yield f"inputs {shapes}: {fault}"


def called(network: Any, inputs: dict[str, Any]) -> tuple[Any, list[Tensor]]:
    """What a network gives for inputs of its own, and what these are afterwards."""
    own = clones(inputs)
    args, kwargs = parted(own)
    return network(*args, **kwargs), [v for v in own.values() if isinstance(v, Tensor)]


def parted(inputs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Inputs by place and by name: all by name where there is a number."""
    return ([], inputs) if "scale" in inputs else (list(inputs.values()), {})


def clones(inputs: dict[str, Any]) -> dict[str, Any]:
    """The same values, laid out in the same way."""
    return {
        n: v.clone(memory_format=torch.preserve_format) if isinstance(v, Tensor) else v
        for n, v in inputs.items()
    }


def laid_out(inputs: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The same values in other orders of memory."""

    def other(value: Any) -> Any:
        kind = rng.choice(["plain", "plain", "last", "rows"])
        if not isinstance(value, Tensor) or value.ndim != 4 or kind == "plain":
            return value
        if kind == "last":
            return value.contiguous(memory_format=torch.channels_last)
        return value.transpose(2, 3).contiguous().transpose(2, 3)

    return {name: other(value) for name, value in inputs.items()}


def _same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


def _faults(
    found: tuple[Any, list[Tensor]], eager: tuple[Any, list[Tensor]], exact: Any, few: float
) -> Iterator[str]:
    (ours, mine), (theirs, its) = (tree_flatten(value[0]) for value in (found, eager))
    if mine != its:
        yield f"{mine} instead of {its}"
        return
    for number, (a, b, right) in enumerate(zip(ours, theirs, tree_leaves(exact), strict=True)):
        if fault := _fault(a, b, right, few):
            yield f"output {number}: {fault}"
    for number, (a, b) in enumerate(zip(found[1], eager[1], strict=True)):
        if not torch.equal(a, b):
            yield f"input {number} is another one afterwards"


def _fault(ours: Tensor, eager: Tensor, exact: Tensor, few: float) -> str:
    if (ours.shape, ours.dtype, ours.requires_grad) != (eager.shape, eager.dtype, False):
        return f"{tuple(ours.shape)} {ours.dtype} instead of {tuple(eager.shape)} {eager.dtype}"
    if not torch.equal(ours.isnan(), eager.isnan()):
        return "NaN at other places"
    mine, usual = ((value.double() - exact).nan_to_num() for value in (ours, eager))
    if not mine.numel():
        return ""
    worst, allowed = float(mine.abs().max()), max(2 * float(usual.abs().max()), few)
    if worst > allowed:
        return f"an error of {worst:.1e}, where {allowed:.1e} is allowed"
    return ""
