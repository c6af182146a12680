"""Figures about a network, each with a status: exact, a bound, or unknown and why."""

from convsmith.measure.compare import Comparison
from convsmith.measure.cost import Cost, cost
from convsmith.measure.counted import Counted
from convsmith.measure.counters import count_as
from convsmith.measure.effective import EffectiveField, effective_field
from convsmith.measure.holes import Gridding, Holes, gridding, holes
from convsmith.measure.images import image_batches
from convsmith.measure.inspect import inspect
from convsmith.measure.inspection import Inspection
from convsmith.measure.latency import Latency, latency
from convsmith.measure.layer_report import LayerReport
from convsmith.measure.memory import Memory, memory
from convsmith.measure.receptive import ReceptiveField, local_field, true_field
from convsmith.measure.sizes import Sizes, sizes
from convsmith.measure.timing import Timing, layer_latency

__all__ = [
    "Comparison",
    "Cost",
    "Counted",
    "EffectiveField",
    "Gridding",
    "Holes",
    "Inspection",
    "Latency",
    "LayerReport",
    "Memory",
    "ReceptiveField",
    "Sizes",
    "Timing",
    "cost",
    "count_as",
    "effective_field",
    "gridding",
    "holes",
    "image_batches",
    "inspect",
    "latency",
    "layer_latency",
    "local_field",
    "memory",
    "sizes",
    "true_field",
]


def __dir__() -> list[str]:
    return list(__all__)
