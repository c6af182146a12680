"""What the networks of a report are: sizes, milliseconds, and how near to the original."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.errors import ArgumentError
from convsmith.measure import inspect, latency
from convsmith.network import Network, untouched
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.outputs import apart, compared
from convsmith.rewrite.lightening.report import NetworkFigures, Step
from convsmith.rewrite.lightening.settings import Evaluate
from convsmith.runtime import compile

__all__ = ["Fidelity", "measured_figures", "narrow_figures"]


class Fidelity:
    """How near a network's answers are to the original's, and how good they are.

    Args:
        original: whose answers count as right.
        batches: calibration images.
        evaluate: gives a network's accuracy on images held out.
    """

    def __init__(
        self, original: nn.Module, batches: Sequence[Tensor], evaluate: Evaluate | None
    ) -> None:
        self._original, self._batches, self._evaluate = original, batches, evaluate
        self._judged: _Seen | None = None
        with untouched(original), torch.no_grad():
            self._expected = self._answers(original)
            if _is_collapsed(self._expected):
                warnings.warn(
                    f"{type(original).__name__} gives the same class for all images: are they "
                    "prepared as it was trained (mean and std, size, channels)?",
                    stacklevel=5,
                )

    @cached_property
    def original(self) -> Step:
        """The original's own."""
        return self.of("original", self._original)

    def of(self, name: str, model: nn.Module) -> Step:
        """One network's, under a name."""
        agreement = None
        with untouched(model), torch.no_grad():
            outputs = self._answers(model)
            moved, variance = apart(outputs, self._expected)
            error = moved / max(variance, 1e-12)
            if len(outputs) == 1 and outputs[0].ndim > 1 and outputs[0].shape[1] > 1:
                same = outputs[0].argmax(1) == self._expected[0].argmax(1)
                agreement = float(same.double().mean())
            accuracy = None
            if self._evaluate is not None:
                seen = _Seen()
                with seen.watching(model):
                    accuracy = _accuracy(self._evaluate(model))
                if model is self._original:
                    self._judged = seen
                elif self._judged is None:
                    self._judged = _Seen()
                    with self._judged.watching(self._original), untouched(self._original):
                        self._evaluate(self._original)
                shared = seen.agreement(self._judged) if self._judged is not None else None
                agreement = agreement if shared is None else shared
        return Step(name, error, agreement, accuracy)

    def _answers(self, model: nn.Module) -> list[Tensor]:
        """Every output, of all images together; in the caller's `untouched`."""
        outputs = [compared(model(batch)) for batch in self._batches]
        return [torch.cat(parts) for parts in zip(*outputs, strict=True)]


class _Seen:
    """The classes that a network gave while it was evaluated, and on what.

    So that agreement is measured on the very images that accuracy is measured on.
    """

    _MOST = 2**24

    def __init__(self) -> None:
        self._inputs: list[tuple[Any, ...]] = []
        self._classes: list[Tensor] = []

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Note what the model is given and answers."""
        handle = model.register_forward_hook(self._note)
        try:
            yield
        finally:
            handle.remove()

    def _note(self, _: nn.Module, given: tuple[Any, ...], answer: Any) -> None:
        known = isinstance(answer, Tensor) and answer.ndim > 1 and answer.shape[1] > 1
        if not known or sum(map(len, self._classes)) > self._MOST:
            return
        first = given[0] if given and isinstance(given[0], Tensor) else torch.zeros(0)
        self._inputs.append((*first.shape, float(first.double().sum())))
        self._classes.append(answer.detach().argmax(1).flatten().to(torch.int32))

    def agreement(self, other: _Seen) -> float | None:
        """How often both gave the same class; None if they did not see the same images."""
        if not self._classes or self._inputs != other._inputs:
            return None
        ours, theirs = torch.cat(self._classes), torch.cat(other._classes)
        return float((ours == theirs).double().mean()) if ours.shape == theirs.shape else None


def _is_collapsed(answers: Sequence[Tensor]) -> bool:
    """Whether a network that tells classes apart gives the same one for every image."""
    if len(answers) != 1 or answers[0].ndim != 2 or answers[0].shape[1] < 2:
        return False
    return len(answers[0]) > 1 and len(set(answers[0].argmax(1).tolist())) == 1


def measured_figures(
    networks: Mapping[str, nn.Module],
    fidelities: Mapping[str, Step],
    image: Tensor,
    clock: Clock,
    traced: Mapping[str, Network] | None = None,
) -> dict[str, NetworkFigures]:
    """The figures of each network: timed in turn, in PyTorch and compiled.

    Args:
        networks: by name.
        fidelities: how near each is to the original.
        image: what is timed.
        clock: how.
        traced: those that are traced already.
    """
    with torch.no_grad(), ExitStack() as stack:
        for network in networks.values():
            stack.enter_context(untouched(network))
        calls: dict[str, Callable[[], Any]] = {}
        calls |= {name: partial(network, image) for name, network in networks.items()}
        if clock.compiled:
            calls |= {
                f"{name}, compiled": clock.runner(net, image, "float32")
                for name, net in networks.items()
            }
        times = latency(calls, seconds=0.5 * len(calls))
    rows = {}
    for name, network in networks.items():
        report = inspect((traced or {}).get(name, network), image[:1])
        step = fidelities[name]
        rows[name] = NetworkFigures(
            params=report.params,
            conv_params=_conv_params(network),
            macs=report.macs,
            latency=times[name],
            compiled=times.get(f"{name}, compiled"),
            accuracy=step.accuracy,
            agreement=step.agreement,
            output_error=step.error,
        )
    return rows


def narrow_figures(
    model: nn.Module, wide: NetworkFigures, fidelity: Fidelity, image: Tensor, clock: Clock
) -> NetworkFigures:
    """The figures of a network in the precision that it will run in.

    Args:
        model: the network.
        wide: its figures in float32.
        fidelity: tells how near to the original it is.
        image: what is timed, in turn with the same in float32.
        clock: how, and in which precision.
    """
    with torch.no_grad(), untouched(model):
        fast = compile(model, image, threads=clock.threads, precision=clock.precision)
        calls: dict[str, Callable[[], Any]] = {
            "narrow": partial(fast, image),
            "float32": clock.runner(model, image, "float32"),
        }
        times = latency(calls, seconds=0.5 * len(calls))
        step = fidelity.of(clock.precision, fast)
    return replace(
        wide, latency=None, compiled=times["narrow"], accuracy=step.accuracy,
        agreement=step.agreement, output_error=step.error,
    )  # fmt: skip


def _conv_params(model: nn.Module) -> int:
    tensors = {
        id(p): p.numel()
        for module in model.modules()
        if isinstance(module, _ConvNd)
        for p in module.parameters()
    }
    return sum(tensors.values())


def _accuracy(value: Any) -> float:
    """What `evaluate` returned, as a number.

    Raises:
        ArgumentError: for anything else.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentError(f"evaluate must return a number, not {value!r:.60}")
    return float(value)
