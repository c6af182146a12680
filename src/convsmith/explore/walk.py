# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""A network read for walking through: its layers with what each costs and sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.draw.scenes.facts import by, kind_of
from convsmith.draw.words import phrase as draw_phrase
from convsmith.draw.words import text
from convsmith.errors import ArgumentError
from convsmith.explore.alone import alone
from convsmith.explore.illustrations import localised
from convsmith.explore.panels import table
from convsmith.explore.phrases import Language, phrase
from convsmith.explore.samples import SAMPLE, small_network
from convsmith.explore.state import LayerState
from convsmith.report import count, percent, shape
from convsmith.report.text import escape
from convsmith.text import read_shape

if TYPE_CHECKING:
    from convsmith.measure import Inspection, LayerReport

__all__ = [
    "Walk",
    "field_panel",
    "is_open",
    "layer_panel",
    "open_model",
    "operation",
    "shapes_panel",
    "trust",
    "use_loader",
]

Loader = Callable[[str], Any]


@dataclass(frozen=True, eq=False)
class Walk:
    """A network and what was found about it; `states` has the layers that have a view of theirs."""

    spec: str
    report: Inspection
    states: dict[str, LayerState]

    @cached_property
    def layers(self) -> list[LayerReport]:
        """The layers, in order of execution, without the inputs."""
        return [layer for layer in self.report.layers if layer.kind != "input"]


_loader: Loader | None = None
_trusted = {SAMPLE}


def use_loader(loader: Loader, trusted: str | None = None) -> None:
    """Say how a model is made from its name; `trusted` is one that may be read unasked.

    The command line brings its own, which this room, a floor below, cannot know.
    """
    global _loader
    _loader = loader
    if trusted:
        _trusted.add(trusted)
    open_model.cache_clear()


def trust(spec: str) -> None:
    """The reader has asked for this model in so many words: from now on it may be read again."""
    _trusted.add(spec)


def is_open(spec: str) -> bool:
    """Whether an address alone may have this model read: it runs no code of the user's."""
    return spec in _trusted or spec.startswith(("torchvision:", "timm:"))


@lru_cache(maxsize=4)
def open_model(spec: str, text: str) -> Walk:
    """Read a model and inspect it on an input of that shape.

    Raises:
        ConvsmithError: whatever is wrong with the name, the model or the shape.
    """
    from convsmith.measure import inspect

    sizes = read_shape(text)
    with alone:
        return _opened(spec, sizes, inspect)


def _opened(spec: str, sizes: tuple[int, ...], inspect: Callable[..., Inspection]) -> Walk:
    if spec == SAMPLE:
        model: Any = small_network()
    elif _loader is None:
        raise ArgumentError(f"only {SAMPLE} can be read here, not {spec!r}")
    else:
        model = _loader(spec)
    return Walk(spec, report := inspect(model, sizes), _states(report))


def _states(report: Inspection) -> dict[str, LayerState]:
    """The layers in the plane as states, each with the size of the map that it really gets."""
    network = report.network
    states: dict[str, LayerState] = {}
    if network is None:
        return states
    for name in (layer.name for layer in report.layers):
        arithmetic = network[name].operation.arithmetic if name in network else None
        if arithmetic is None or arithmetic.dims != 2 or not network[name].inputs:
            continue
        _, channels, *size = network[network[name].inputs[0]].shape
        states[name] = LayerState.of(arithmetic, channels, (size[0], size[1]))
    return states


def layer_panel(walk: Walk, index: int, language: Language) -> str:
    """One layer of a network: what it does, costs and sees."""
    layer = walk.layers[index]
    total = walk.report.macs
    known = layer.macs is not None and total
    facts = [
        (phrase("model operation", language), operation(walk.report, layer, language)),
        (phrase("model output", language), shape(layer.output)),
        (phrase("params", language), count(layer.params)),
        (phrase("macs", language), "–" if layer.macs is None else count(layer.macs)),
        (phrase("model share", language), percent((layer.macs or 0) / total) if known else "–"),
    ]
    field = walk.report.field_of(layer.name)
    facts.append((phrase("model field", language), "–" if field is None else shape(field.size)))
    items = "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>" for a, b in facts)
    return f'<h2 class="cs-name">{escape(layer.name)}</h2><dl class="cs-facts">{items}</dl>'


def _arithmetic(report: Inspection, layer: LayerReport) -> Conv | ConvTranspose | Pool | None:
    network = report.network
    if network is None or layer.name not in network:
        return None
    return network[layer.name].operation.arithmetic


def operation(report: Inspection, layer: LayerReport, language: Language) -> str:
    """What a layer does, in words; what is no window keeps its name in PyTorch."""
    window = _arithmetic(report, layer)
    if language == "en" or window is None:
        return layer.operation
    words = [f"{draw_phrase(text(f'title.{kind_of(window)}'), language)} {by(window.kernel_size)}"]
    for key, sizes in (("stride", window.stride), ("dilation", window.dilation)):
        if any(n != 1 for n in sizes):
            size = sizes[0] if len(set(sizes)) == 1 else by(sizes)
            words.append(draw_phrase(text(f"fact.{key}", size=size), language))
    groups = getattr(window, "groups", 1)
    if groups > 1:
        words.append(draw_phrase(text("fact.groups", count=groups), language))
    return "，".join(words)


@lru_cache(maxsize=64)
def shapes_panel(walk: Walk, language: Language) -> str:
    """What has which shape, from the input through every line of a network."""
    rows = []
    for layer in walk.report.layers:
        weight = getattr(_arithmetic(walk.report, layer), "weight_shape", ())
        mark = "：" if language == "zh" else ": "
        words = layer.name
        if layer.kind != "input":
            words += mark + operation(walk.report, layer, language)
        rows.append([words, shape(weight) if weight else "–", shape(layer.output)])
    heads = ("model line", "model weight", "model batch")
    return table([phrase(key, language) for key in heads], rows)


@lru_cache(maxsize=64)
def field_panel(walk: Walk, name: str, language: Language) -> str:
    """The receptive field of a layer over the image, or the line that says it has none."""
    figure = walk.report.field_figure(name)
    if figure is None:
        return f'<p class="cs-note">{escape(phrase("model no field", language))}</p>'
    return localised(figure.svg, language)
