"""Figures about a network, each with a status: exact, a bound, or unknown and why."""

from convsmith.measure.cost import Cost, cost
from convsmith.measure.effective import EffectiveField, effective_field
from convsmith.measure.holes import Gridding, Holes, gridding, holes
from convsmith.measure.images import image_batches
from convsmith.measure.inspect import inspect
from convsmith.measure.inspection import Inspection, LayerReport
from convsmith.measure.latency import Latency, latency
from convsmith.measure.memory import Memory, memory
from convsmith.measure.receptive import ReceptiveField, local_field, true_field
from convsmith.measure.timing import Timing, layer_latency

__all__ = [
    "Cost",
    "EffectiveField",
    "Gridding",
    "Holes",
    "Inspection",
    "Latency",
    "LayerReport",
    "Memory",
    "ReceptiveField",
    "Timing",
    "cost",
    "effective_field",
    "gridding",
    "holes",
    "image_batches",
    "inspect",
    "latency",
    "layer_latency",
    "local_field",
    "memory",
    "true_field",
]
