"""Putting the chosen forms into a copy of a network, each fitted to what is there before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from convsmith.network import Layer, Network, submodule
from convsmith.network.modules import copied
from convsmith.nn import Factored
from convsmith.rewrite.lightening.candidates import Candidate, Choice
from convsmith.rewrite.lightening.fit.following import following
from convsmith.rewrite.lightening.fit.moments import Moments, covariance
from convsmith.rewrite.lightening.fit.parts import refit_parts
from convsmith.rewrite.lightening.fit.refit import correct_bias, match_batch_norm, refit
from convsmith.rewrite.surgery import replace

__all__ = ["decomposed", "give_bias", "rewrite"]


def decomposed(
    model: nn.Module,
    replaceable: Sequence[Candidate],
    choices: Mapping[str, Choice | None],
    moments: Mapping[str, Moments] | None = None,
) -> nn.Module:
    """A copy with the chosen forms as the decomposition gives them, weighed by moments if given."""
    light = copied(model)
    for c in replaceable:
        choice = choices[c.path]
        if choice is not None:
            patch_covariance = covariance(moments or {}, c.path)
            replace(light, c.path, choice.form.make(c.conv, choice.rank, patch_covariance))
    return light


def rewrite(
    light: nn.Module,
    model: nn.Module,
    network: Network,
    replaceable: Sequence[Candidate],
    choices: Mapping[str, Choice | None],
    moments: Mapping[str, Moments],
    batches: Sequence[Tensor],
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    """Replace the chosen convolutions of `light`, a copy of `model`; what each of them lost.

    In order of execution, so that each layer is fitted to what the layers before it now give.
    """
    by_name = {
        c.layer.name: (c, choice) for c in replaceable if (choice := choices[c.path]) is not None
    }
    touched = {layer.name for name in by_name for layer in network.downstream(name)}
    norms = {x.name: x.path for x in network if x.name in touched and _is_norm(network, x, light)}
    kept = {x.name: x.path for x in network if x.name in touched and _is_biased(network, x, light)}
    todo = [x.name for x in network if x.name in by_name or x.name in norms or x.name in kept]
    errors: dict[str, float] = {}
    for done, name in enumerate(todo):
        progress(done, len(todo))
        if name in norms:
            match_batch_norm(light, model, batches, norms[name])
            continue
        if name not in by_name:
            correct_bias(light, model, batches, kept[name])
            continue
        c, choice = by_name[name]
        layer = choice.form.make(c.conv, choice.rank, covariance(moments, c.path))
        if not c.normalised:
            give_bias(layer)
        replace(light, c.path, layer)
        errors[c.path] = refit_parts(light, model, batches, c.path)
        if (activation := following(network, c.layer, model)) is not None:
            refit(light, model, batches, c.path, activation=activation)
    progress(len(todo), len(todo))
    return errors


def give_bias(layer: Factored) -> None:
    """The mean that a refit removes has to go somewhere when no batch norm follows."""
    if layer.last.bias is not None:
        return
    weight = layer.last.weight
    layer.last.bias = nn.Parameter(torch.zeros(layer.out_channels).to(weight))


def _is_norm(network: Network, layer: Layer, model: nn.Module) -> bool:
    """Whether a layer is a batch norm with statistics of its own, called once."""
    module = _of_its_own(network, layer, model)
    return isinstance(module, _BatchNorm) and module.track_running_stats


def _is_biased(network: Network, layer: Layer, model: nn.Module) -> bool:
    """Whether a layer is a convolution with a bias, called once."""
    module = _of_its_own(network, layer, model)
    return isinstance(module, _ConvNd) and module.bias is not None


def _of_its_own(network: Network, layer: Layer, model: nn.Module) -> nn.Module | None:
    """The module of a layer whose parameters no other layer uses."""
    shared = any(p.name in network.shared for p in layer.parameters)
    return None if shared or not layer.path else submodule(model, layer.path)
