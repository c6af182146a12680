"""`lighten`: standard convolutions of a trained network become separable ones that remember."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from convsmith.errors import ArgumentError
from convsmith.measure import image_batches, inspect, latency
from convsmith.network import Layer, Network, submodule, trace, untouched
from convsmith.nn import SeparablePair
from convsmith.rewrite.candidates import (
    Candidate,
    Filter,
    candidates,
    form_of,
    layer_times,
    refuse_empty,
)
from convsmith.rewrite.choose import Option, choose, least_cost
from convsmith.rewrite.decompose import decomposition_errors
from convsmith.rewrite.distil import Loss, Schedule, distil
from convsmith.rewrite.fit import match_batch_norm, refit
from convsmith.rewrite.recipe import save
from convsmith.rewrite.report import Figures, LightenReport, RewrittenLayer
from convsmith.rewrite.statistics import Moments, patch_moments
from convsmith.rewrite.surgery import replace
from convsmith.runtime import compile

__all__ = ["Lightened", "lighten"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Lightened:
    """A lightened network and the account of it.

    Attributes:
        model: the new network; the original is as it was.
        report: before and after.
        control: the network of the same architecture from random weights, if it was asked for.
    """

    model: nn.Module
    report: LightenReport
    control: nn.Module | None = None

    def save(self, folder: str | Path, *, origin: str = "", force: bool = False) -> Path:
        """Write weights and recipe to a folder; `convsmith.load` reads them."""
        paths = [layer.path for layer in self.report.layers if layer.multiplier]
        report = self.report.to_dict()
        return save(self.model, folder, paths, report=report, origin=origin, force=force)

    def __repr__(self) -> str:
        return f"Lightened({self.report!r})"


def lighten(
    model: nn.Module,
    images: Any,
    *,
    speedup: float | None = None,
    macs: float | None = None,
    multiplier: int | None = None,
    filter_fn: Filter | None = None,
    train: Iterable[Any] | None = None,
    epochs: int = 0,
    learning_rate: float = 0.02,
    loss: Loss | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    control: bool = False,
    control_learning_rate: float = 0.02,
    compiled: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Lightened:
    """Make standard convolutions depthwise separable, starting from what they have learned.

    Each weight is decomposed per channel (Guo et al. 2018, arXiv:1808.05517), weighed by what the
    images show it; then, in order of execution, the pointwise half is refitted to the original's
    responses (Zhang et al. 2015, arXiv:1505.06798), and batch norm is estimated anew. From
    unlabelled images alone this trains nothing; with `train` and `epochs` the result is
    fine-tuned with the original as teacher.

    Args:
        model: any network that can be traced, with one input; it is left as it was.
        images: unlabelled images: a tensor or array (images, channels, *size), or batches.
        speedup: how many times faster one image is to be, by measured layer times; a form that is
            slower here than the convolution is never taken.
        macs: or the most multiply-adds an image: a count, or a fraction of the original's below 1.
        multiplier: or the same number of depthwise kernels a channel everywhere. One of the three;
            with none, `speedup=2`.
        filter_fn: `filter_fn(module, path)` says which convolutions may change.
        train: batches (images, labels), or of images alone, gone through once an epoch.
        epochs: of fine-tuning; 0 trains nothing.
        learning_rate: of fine-tuning, at its peak (SGD).
        loss: of outputs and labels, in place of cross-entropy on logits.
        evaluate: gives a model's accuracy, for the report.
        control: also train the same architecture from random weights with the same budget.
        control_learning_rate: the control's own (AdamW, which serves random weights better).
        compiled: also time each network as `compile` runs it, with as many threads as PyTorch.
        seed: of every random number used here.
        progress: called as `progress(what, done, of)`.

    Raises:
        ArgumentError: for a target that is none or cannot be met (with the best that can), for
            images or layers that do not fit.
        TraceError: if the model cannot be captured.

    >>> model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3))
    >>> light = lighten(model, torch.rand(64, 8, 9, 9), multiplier=2)
    >>> light.report.original.params, light.report.lightened.params
    (11584, 3344)
    """
    targets = {"speedup": speedup, "macs": macs, "multiplier": multiplier}
    asked = {name: value for name, value in targets.items() if value is not None}
    if len(asked) > 1:
        raise ArgumentError(f"one target, not {len(asked)}: {', '.join(asked)}")
    name, target = next(iter(asked.items())) if asked else ("speedup", 2.0)
    if target <= 0:
        raise ArgumentError(f"{name} must be positive, not {target}")
    if epochs and train is None:
        raise ArgumentError(
            f"epochs={epochs} needs train: batches of images, or of images and labels"
        )
    if control and not epochs:
        raise ArgumentError("the control is trained: it needs train and epochs")
    say = progress or (lambda what, done, of: None)
    batches = image_batches(images)
    network = trace(model, batches[0][:1])
    found = candidates(network, model, filter_fn)
    refuse_empty(found, network.name)
    free = [candidate for candidate in found if not candidate.reason]

    light = deepcopy(model)
    with untouched(model), _seeded(seed):
        moments = patch_moments(model, batches, [candidate.path for candidate in free])
        chosen, predicted = _choose(model, network, free, moments, batches, name, target)
        errors = _rewrite(light, model, network, free, chosen, moments, batches, say)
        rival = _from_random_weights(light, seed) if control else None
        losses: list[float] = []
        if epochs:
            assert train is not None
            plan = Schedule(epochs, learning_rate)
            losses = _trained("fine-tuning", light, model, train, plan, loss, seed, say)
            if rival is not None:
                plan = Schedule(epochs, control_learning_rate, optimizer="adamw")
                _trained("control", rival, model, train, plan, loss, seed, say)
        networks = {"original": model, "lightened": light} | ({"control": rival} if rival else {})
        figures = _figures(networks, batches, evaluate, compiled)
    report = LightenReport(
        model=network.name,
        target=_words(name, target),
        original=figures["original"],
        lightened=figures["lightened"],
        control=figures.get("control"),
        layers=tuple(_account(c, chosen, errors, light) for c in found),
        predicted_ms=predicted,
        losses=tuple(losses),
        images=sum(map(len, batches)),
        seed=seed,
    )
    return Lightened(light, report, rival)


def _choose(
    model: nn.Module,
    network: Network,
    free: Sequence[Candidate],
    moments: dict[str, Moments],
    batches: Sequence[Tensor],
    name: str,
    target: float,
) -> tuple[dict[str, int], float | None]:
    """Kernels a channel for each path (0: kept), and the predicted milliseconds of one image."""
    if name == "multiplier":
        wanted = int(target)
        return {c.path: wanted if wanted in c.multipliers else 0 for c in free}, None
    if name == "macs":
        total = float(inspect(network).macs)
        costs = {(c.path, t): float(c.macs(t)) for c in free for t in (0, *c.multipliers)}
        budget = target * total if target < 1 else target
    else:
        image = batches[0][:1]
        with torch.no_grad():
            total = latency({"model": lambda: model(image)})["model"].median_ms
        costs = layer_times(free)
        budget = total / target
    # What no choice changes: everything but the convolutions that may.
    rest = max(0.0, total - sum(costs[c.path, 0] for c in free))
    options = []
    for c in free:
        conv = submodule(model, c.path)
        assert isinstance(conv, _ConvNd)
        errors = decomposition_errors(conv, moments[c.path].covariance)
        forms = [Option(t, costs[c.path, t], errors[t - 1]) for t in c.multipliers]
        options.append([Option(0, costs[c.path, 0], 0.0), *forms])
    least = rest + least_cost(options)
    if least > budget:
        best = f"speedup={total / least:.2f}" if name == "speedup" else f"macs={least:.0f}"
        raise ArgumentError(
            f"{name}={target:g} cannot be met: the best here is {best}, as {rest / total:.0%} of "
            "the cost lies outside the convolutions that may change"
        )
    picks = choose(options, budget - rest)
    chosen = {c.path: pick.multiplier for c, pick in zip(free, picks, strict=True)}
    predicted = rest + sum(pick.cost for pick in picks)
    return chosen, predicted if name == "speedup" else None


def _rewrite(
    light: nn.Module,
    model: nn.Module,
    network: Network,
    free: Sequence[Candidate],
    chosen: dict[str, int],
    moments: dict[str, Moments],
    batches: Sequence[Tensor],
    say: Progress,
) -> dict[str, float]:
    """Replace the chosen convolutions of `light`; what each of them lost.

    In order of execution, so that each layer is fitted to what the layers before it now give.
    """
    by_name = {c.layer.name: c for c in free if chosen[c.path]}
    touched = {layer.name for name in by_name for layer in network.downstream(name)}
    norms = {x.name: x.path for x in network if x.name in touched and _is_norm(network, x, light)}
    todo = [layer.name for layer in network if layer.name in by_name or layer.name in norms]
    errors: dict[str, float] = {}
    for done, name in enumerate(todo):
        say("rewriting", done, len(todo))
        if name in norms:
            match_batch_norm(light, model, batches, norms[name])
            continue
        c = by_name[name]
        layer = _separable(submodule(light, c.path), chosen[c.path], moments[c.path], c.normalised)
        replace(light, c.path, layer)
        errors[c.path] = refit(light, model, batches, c.path)
    say("rewriting", len(todo), len(todo))
    return errors


def _separable(
    conv: nn.Module, multiplier: int, moments: Moments, normalised: bool
) -> SeparablePair:
    form = form_of(conv)
    assert form is not None
    layer: SeparablePair = form.from_conv(conv, multiplier, moments=moments.covariance)
    if layer.pointwise.bias is None and not normalised:
        # The mean that the refit removes has to go somewhere when no batch norm follows.
        zeros = layer.pointwise.weight.new_zeros(layer.out_channels)
        layer.pointwise.bias = nn.Parameter(zeros)
    return layer


def _is_norm(network: Network, layer: Layer, model: nn.Module) -> bool:
    """Whether a layer is a batch norm with statistics of its own, called once."""
    module = model.get_submodule(layer.path)
    shared = any(p.name in network.shared for p in layer.parameters)
    return isinstance(module, _BatchNorm) and module.track_running_stats and not shared


def _from_random_weights(light: nn.Module, seed: int) -> nn.Module:
    """The same architecture as if it had just been built: the control."""
    new = deepcopy(light)
    with _seeded(seed):
        for module in new.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return new


def _trained(
    what: str,
    student: nn.Module,
    teacher: nn.Module,
    train: Iterable[Any],
    plan: Schedule,
    loss: Loss | None,
    seed: int,
    say: Progress,
) -> list[float]:
    batches = train if isinstance(train, Sized) else list(train)
    steps, done = plan.epochs * len(batches), 0

    def advance() -> None:
        nonlocal done
        done += 1
        say(what, done, steps)

    with _seeded(seed):  # the same order of images for both
        return distil(student, teacher, batches, plan, loss=loss, advance=advance)


def _figures(
    networks: dict[str, nn.Module],
    batches: Sequence[Tensor],
    evaluate: Callable[[nn.Module], float] | None,
    compiled: bool,
) -> dict[str, Figures]:
    image = batches[0][:1]
    outputs: dict[str, Tensor | None] = {}
    with torch.no_grad(), ExitStack() as stack:
        for network in networks.values():
            stack.enter_context(untouched(network))
        calls = {name: partial(network, image) for name, network in networks.items()}
        if compiled:
            calls |= {
                f"{name}, compiled": partial(
                    compile(network, image, threads=torch.get_num_threads()), image
                )
                for name, network in networks.items()
            }
        times = latency(calls, seconds=0.5 * len(calls))
        for name, network in networks.items():
            answers = [network(batch) for batch in batches]
            outputs[name] = torch.cat(answers) if isinstance(answers[0], Tensor) else None
        accuracies = {n: evaluate(network) if evaluate else None for n, network in networks.items()}
    wanted = outputs["original"]
    figures = {}
    for name, network in networks.items():
        report = inspect(network, image)
        given = outputs[name]
        agreement = error = None
        if wanted is not None and given is not None:
            error = float((given - wanted).square().mean() / wanted.var().clamp_min(1e-12))
            if wanted.ndim == 2 and wanted.shape[1] > 1:
                agreement = float((given.argmax(1) == wanted.argmax(1)).double().mean())
        figures[name] = Figures(
            params=report.params,
            conv_params=_conv_params(network),
            macs=report.macs,
            latency=times[name],
            compiled=times.get(f"{name}, compiled"),
            accuracy=accuracies[name],
            agreement=agreement,
            output_error=error,
        )
    return figures


def _conv_params(model: nn.Module) -> int:
    tensors = {
        id(p): p.numel()
        for module in model.modules()
        if isinstance(module, _ConvNd)
        for p in module.parameters()
    }
    return sum(tensors.values())


def _account(
    c: Candidate, chosen: dict[str, int], errors: dict[str, float], light: nn.Module
) -> RewrittenLayer:
    multiplier = chosen.get(c.path, 0)
    reason = c.reason
    if not multiplier and not reason:
        reason = "keeping it was the better choice"
    after = submodule(light, c.path) if multiplier else None
    params = sum(p.numel() for p in after.parameters()) if after else c.spec.params
    return RewrittenLayer(
        path=c.path,
        multiplier=multiplier,
        params=(c.spec.params, params),
        macs=(c.macs(0), c.macs(multiplier)),
        error=errors.get(c.path, 0.0),
        reason=reason,
    )


def _words(name: str, target: float) -> str:
    if name == "speedup":
        return f"{target:g}× faster"
    if name == "macs":
        return f"{target:.0%} of the MACs" if target < 1 else f"at most {target:,.0f} MACs"
    return f"{target:g} depthwise kernel{'s' * (target != 1)} a channel"


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
