"""In place of training: least-squares refits of rewritten layers, biases and batch norm matched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from convsmith.errors import ArgumentError
from convsmith.network import submodule, untouched
from convsmith.nn import Factored
from convsmith.rewrite.lightening.fit.activated import after_activation
from convsmith.rewrite.lightening.fit.regression import Regression, Sample, put, weights_of
from convsmith.rewrite.surgery import answers, inputs

__all__ = ["correct_bias", "fits_whole", "match_batch_norm", "refit", "whole_patches"]

# A channel's mean and spread depend on varied images; beyond these counts, neither changes.
_IMAGES, _VALUES = 64, 2**17

# Patches of more values than this have moments too large to keep and to work with.
_LARGEST = 2400


def refit(
    light: nn.Module,
    original: nn.Module,
    batches: Sequence[Tensor],
    path: str,
    *,
    ridge: float = 1e-3,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> float:
    """Fit the last convolution of a factored layer to what the original layer answered.

    Ridge regression of the original's responses on what the last convolution is given in the
    network that is rewritten up to here, so that it also makes good what earlier layers lost
    (asymmetric reconstruction, Zhang et al. 2015, arXiv:1505.06798). The ridge pulls towards the
    weights it starts from: a direction that no image shows keeps its decomposed value.

    Args:
        light: the network in which the layer is.
        original: the network that is imitated.
        batches: images.
        path: the layer, in both networks.
        ridge: the pull, as a share of the variance of each feature.
        activation: what follows, as a function of maps (images, channels, ...), e.g.
            ``torch.relu``, or a batch norm and a ReLU; then the error after it is made small, on
            a sample of the places.

    Returns:
        The share of the responses' variance that is left unexplained, 0 for a perfect fit; with an
        activation, of what it makes of them.
    """
    layer = submodule(light, path)
    assert isinstance(layer, Factored)
    last = layer.last
    with untouched(light), untouched(original), torch.no_grad():
        sums, sample = Regression.of(last), None
        total = sum(map(len, batches))
        for features, responses in _pairs(light, original, batches, path):
            sums.add(last, features, responses)
            if activation is not None:
                sample = sample or Sample.of(last, total * prod(responses.shape[2:]))
                sample.add(last, features, responses)
            elif sums.enough:
                break
        weights, bias, left = sums.solve(weights_of(last), ridge)
        if activation is not None and sample is not None:
            weights, bias, left = after_activation(
                sample.values(), weights, bias, activation, last.weight, ridge
            )
        put(last, weights, bias)
    return left


def fits_whole(conv: _ConvNd) -> bool:
    """Whether the second moments of a convolution's whole patches are small enough to work with."""
    return weights_of(conv).shape[2] <= _LARGEST


def whole_patches(
    light: nn.Module, original: nn.Module, batches: Sequence[Tensor], path: str
) -> Regression:
    """Sums over whole patches of what a layer is given, and of what the original's answers."""
    conv = submodule(original, path)
    assert isinstance(conv, _ConvNd)
    sums = Regression.of(conv)
    for batch in batches:
        images = inputs(light, path, partial(light, batch))
        responses = answers(original, path, partial(original, batch))
        for maps, answer in zip(images, responses, strict=True):
            sums.add(conv, maps, answer)
        if sums.enough:
            break
    return sums


def correct_bias(
    light: nn.Module, original: nn.Module, batches: Sequence[Tensor], path: str
) -> None:
    """Shift the bias of a layer so that its mean answer, channel by channel, is the original's.

    Nagel et al. 2019, arXiv:1906.04721, from images. The layer is a factored one or a plain
    convolution that was kept, whose input has changed.

    Raises:
        ArgumentError: if it has no bias.
    """
    layer = submodule(light, path)
    conv = layer.last if isinstance(layer, Factored) else layer
    if not isinstance(conv, _ConvNd) or conv.bias is None:
        raise ArgumentError(f"{path}: {type(layer).__name__} has no bias to correct")
    with untouched(light), untouched(original), torch.no_grad():
        mean, expected = (_mean(model, batches, path) for model in (light, original))
        conv.bias.add_((expected - mean).to(conv.bias))


def _mean(model: nn.Module, batches: Sequence[Tensor], path: str) -> Tensor:
    """The mean answer of a layer, for each channel."""
    total: Tensor | float = 0.0
    count = 0
    for batch in batches:
        for maps in answers(model, path, partial(model, batch)):
            values = maps.transpose(0, 1).flatten(1).double()
            total, count = total + values.sum(1), count + values.shape[1]
    assert isinstance(total, Tensor)
    return total / count


def _pairs(
    light: nn.Module, original: nn.Module, batches: Sequence[Tensor], path: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """What the last convolution of the new layer is given, and what the original layer answers."""
    layer = submodule(light, path)
    assert isinstance(layer, Factored)
    name = next(name for name, part in layer.named_modules() if part is layer.last)
    for batch in batches:
        features = inputs(light, f"{path}.{name}", partial(light, batch))
        responses = answers(original, path, partial(original, batch))
        yield from zip(features, responses, strict=True)


def match_batch_norm(
    light: nn.Module, original: nn.Module, batches: Sequence[Tensor], path: str
) -> None:
    """Set a batch norm's running statistics so that its output has the original's mean and spread.

    Where the original's statistics are those of the images, this estimates them again. Where
    they are not, the difference stays as the original has it: a network that computes the same as
    the original keeps its statistics.
    """
    norm = submodule(light, path)
    assert isinstance(norm, _BatchNorm)
    with untouched(light), untouched(original), torch.no_grad():
        statistics = []
        for model in (light, original):
            sums = squares = torch.zeros(norm.num_features, dtype=torch.float64)
            count = images = 0
            for batch in batches:
                (maps,) = inputs(model, path, partial(model, batch))
                values = maps.transpose(0, 1).flatten(1).double().cpu()
                sums, squares = sums + values.sum(1), squares + values.square().sum(1)
                count += values.shape[1]
                images += len(batch)
                if images >= _IMAGES and count >= _VALUES:
                    break
            mean = sums / count
            statistics.append((mean, (squares / count - mean.square()).clamp_min(0)))
        (mean, variance), (expected_mean, expected_variance) = statistics
        assert norm.running_mean is not None
        assert norm.running_var is not None
        # A channel that is constant in either network has no spread to match.
        alive = (variance > 0) & (expected_variance > 0)
        ratio = torch.where(alive, variance / expected_variance, torch.ones_like(variance))
        held_mean, held_variance = norm.running_mean.double().cpu(), norm.running_var.double().cpu()
        matched = ((held_variance + norm.eps) * ratio - norm.eps).clamp_min(0)
        # By the scale that is really set: where it was clamped, the mean must still be right.
        scale = ((matched + norm.eps) / (held_variance + norm.eps)).sqrt()
        norm.running_mean.copy_(mean - (expected_mean - held_mean) * scale)
        norm.running_var.copy_(matched)
