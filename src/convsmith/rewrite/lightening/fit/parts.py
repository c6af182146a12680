"""All parts of a form fitted to what the original layer answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.network import submodule, untouched
from convsmith.nn import ComposedConv, Factored, SeparablePair
from convsmith.rewrite.lightening.fit.alternately import fit_alternately, has_windows_apart
from convsmith.rewrite.lightening.fit.jointly import fit_jointly
from convsmith.rewrite.lightening.fit.refit import fits_whole, refit, whole_patches

__all__ = ["fit_of_parts", "refit_parts"]


def refit_parts(
    light: nn.Module,
    original: nn.Module,
    batches: Sequence[Tensor],
    path: str,
    *,
    ridge: float = 1e-3,
    rounds: int = 4,
) -> float:
    """Fit every part of a form to what the original layer answered, in turn; else `refit`.

    Args:
        light: the network in which the layer is.
        original: the network that is imitated.
        batches: images.
        path: the layer, in both networks.
        ridge: the pull, as a share of the variance of each weight's feature.
        rounds: how often all parts are solved.

    Returns:
        The share of the responses' variance that is left unexplained; 0 is a perfect fit.
    """
    layer, conv = submodule(light, path), submodule(original, path)
    assert isinstance(layer, Factored)
    assert isinstance(conv, _ConvNd)
    fit = fit_of_parts(layer, conv)
    if fit is None:
        return refit(light, original, batches, path, ridge=ridge)
    with untouched(light), untouched(original), torch.no_grad():
        sums = whole_patches(light, original, batches, path)
        return fit(sums, ridge=ridge, rounds=rounds)


def fit_of_parts(layer: Factored, conv: _ConvNd) -> Callable[..., float] | None:
    """What fits all parts of a form, from sums over the whole patches that `conv` sees.

    None if only the last part can be fitted: where patches are so large that their moments are
    too, and where two parts have windows on the same axis.
    """
    if not fits_whole(conv):
        return None
    if isinstance(layer, SeparablePair):
        return partial(fit_jointly, layer, conv)
    if isinstance(layer, ComposedConv) and has_windows_apart(layer):
        return partial(fit_alternately, layer, conv)
    return None
