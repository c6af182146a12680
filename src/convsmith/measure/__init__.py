"""Figures about a network, each with a status: exact, a bound, or unknown and why."""

from convsmith.measure.cost import Cost, cost
from convsmith.measure.inspect import inspect
from convsmith.measure.inspection import Inspection, LayerReport
from convsmith.measure.latency import Latency, latency

__all__ = ["Cost", "Inspection", "Latency", "LayerReport", "cost", "inspect", "latency"]
