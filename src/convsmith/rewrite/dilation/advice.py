"""What to do where a network cannot be dilated exactly: all that is advised was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

from torch import Tensor

from convsmith.errors import ConvsmithError
from convsmith.network import Layer, Network
from convsmith.rewrite.dilation.job import Job, all_exact
from convsmith.rewrite.dilation.plan import Plan
from convsmith.rewrite.dilation.request import judged_layers, layers_in, some_of
from convsmith.rewrite.dilation.strides import too_coarse
from convsmith.text import times

__all__ = ["advice", "refusal_message"]

_TRIES = 3
"""How many of the last exact maps are tried before none is advised."""


def refusal_message(job: Job) -> str:
    """Why a network cannot be dilated exactly, and what works: all that is advised was tried."""
    network = job.network
    if not job.broken:
        return (
            f"{network.name} cannot reach the output stride that was asked for: "
            f"{some_of(map(str, job.coarse))}{advice(job)}"
        )
    return f"{network.name} cannot be dilated exactly: {some_of(map(str, job.broken))}{advice(job)}"


def advice(job: Job, *, runs: bool | None = None) -> str:
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


def _works_up_to(job: Job, name: str) -> bool:
    judged = judged_layers(job.network, name)
    layers = list(judged.values())
    if any(job.exact.upstream(job.network, layer) for layer in layers) or too_coarse(
        job.network, job.exact, job.striding, layers
    ):
        return False
    try:
        other = replace(job, judged=judged, named=True)
        return all_exact(other.attempt(job.exact)[1])
    except ConvsmithError:
        return False


def _runs(job: Job) -> bool:
    try:
        job.attempt(job.whole)
    except ConvsmithError:
        return False
    return True


def _other_size(job: Job) -> list[str]:
    """A size of the image that works where circular padding does not, in words."""
    shape = job.example.shape if isinstance(job.example, Tensor) else job.example
    if not all(isinstance(n, int) for n in shape):
        return []  # several inputs
    strides = [g.stride for grids in job.exact.grids.values() if grids for g in grids[0]]
    step = ceil(max(strides, default=1))
    size = (*shape[:2], *(-(-n // step) * step for n in shape[2:]))
    try:
        output_stride, layers, rates, features = job.asked
        other = Job.of(job.model, size, output_stride, layers, rates, features, job.seed)
        if other.broken or other.coarse or not all_exact(other.attempt(other.exact)[1]):
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
