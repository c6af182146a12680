"""Panels and pictures put together: what each view of the explorer shows."""

from __future__ import annotations

from convsmith.errors import ConvsmithError
from convsmith.explore import illustrations, panels
from convsmith.explore.live import frame, layer_stage, stack_stage
from convsmith.explore.phrases import Language, phrase
from convsmith.explore.stack import StackLayer, chain
from convsmith.explore.state import LayerState
from convsmith.explore.walk import Walk, field_panel, layer_panel, shapes_panel
from convsmith.report import shape
from convsmith.report.text import escape

__all__ = ["numbers_panel", "question_panel", "scene_panel", "stack_page", "walk_page"]


def question_panel(state: LayerState, language: Language) -> str:
    """What is asked before anything is revealed: the layer and its input, and nothing else."""
    asked = f"{phrase('input', language)} {shape((state.in_channels, *state.size))}"
    return (
        f'<div class="cs-summary"><span><b>{escape(asked)}</b></span></div>'
        f'<p class="cs-note">{escape(phrase("guess lead", language))}</p>'
    )


def scene_panel(state: LayerState, language: Language, live: bool = False) -> str:
    """The animation of a layer; of a transposed convolution all three views.

    Args:
        state: the layer.
        language: of the texts.
        live: whether as a stage whose cells answer, in place of the animation.
    """
    if live:
        try:
            return f'<figure class="cs-figure">{frame(layer_stage(state), language)}</figure>'
        except ConvsmithError as error:
            return panels.problem_panel(phrase("no picture", language, reason=error))
    if state.kind != "transposed":
        return _scene(state, language, None)
    stamp, zeros, matrix = panels.transposed_views(state, language)
    drawn = illustrations.matrix_picture(state)
    return "".join(
        [
            _section(*stamp, _scene(state, language, "scatter")),
            _section(*zeros, _scene(state, language, "zeros")),
            _section(
                *matrix,
                illustrations.figure(drawn)
                if drawn
                else panels.note(phrase("matrix large", language, most=illustrations.MATRIX)),
            ),
        ]
    )


def _scene(state: LayerState, language: Language, view: str | None) -> str:
    try:
        return illustrations.figure(illustrations.image(state, language, view))
    except ConvsmithError as error:
        return panels.problem_panel(phrase("no picture", language, reason=error))


def numbers_panel(state: LayerState, language: Language) -> str:
    """Size, cost and the code."""
    parts = [panels.size_panel(state, language)]
    if state.kind == "transposed":
        parts.append(panels.shared_size(state, language))
    parts += [panels.cost_panel(state, language), panels.code_panel(state, language)]
    return "".join(parts)


def stack_page(stack: tuple[StackLayer, ...], language: Language, extent: int | None = None) -> str:
    """What a stack sees: in a sentence, map by map, along a line, in the plane, layer by layer.

    Args:
        stack: its layers.
        language: of the texts.
        extent: along a side of the input; by default as much as it takes.
    """
    parts = [panels.stack_panel(stack, language)]
    try:
        live = frame(stack_stage(stack, extent), language)
    except ConvsmithError as error:
        live = panels.problem_panel(phrase("no picture", language, reason=error))
    parts.append(_figure(phrase("stack live", language), live))
    if line := illustrations.line_picture(stack, language):
        parts.append(_figure(phrase("stack line", language), line))
    plane = illustrations.plane_picture(stack, language)
    if plane is None:
        span = chain(stack).receptive_field().span
        parts.append(panels.note(phrase("stack large", language, size=shape((span, span)))))
    else:
        parts.append(_figure(phrase("stack plane", language), plane))
    parts.append(panels.stack_table(stack, language))
    return "".join(parts)


def walk_page(walk: Walk, index: int, language: Language) -> str:
    """One layer of a network, and its receptive field over the image."""
    of = phrase(
        "model of",
        language,
        model=walk.report.model,
        shape=", ".join(map(shape, walk.report.inputs)),
    )
    at = phrase("model layer", language, index=index + 1, count=len(walk.layers))
    name = walk.layers[index].name
    parts = [
        f'<p class="cs-lead" role="status">{escape(of)} · {escape(at)}</p>',
        layer_panel(walk, index, language),
    ]
    if name in walk.states:
        view = phrase("view layer", language)
        parts.append(panels.note(phrase("model open", language, view=view)))
    parts.append(_figure(phrase("model field", language), field_panel(walk, name, language)))
    parts.append(_section(phrase("model shapes", language), "", shapes_panel(walk, language)))
    return "".join(parts)


def _section(title: str, text: str, drawn: str) -> str:
    return (
        f'<section class="cs-section"><h2>{escape(title)}</h2>'
        f"{panels.note(text) if text else ''}{drawn}</section>"
    )


def _figure(title: str, drawn: str) -> str:
    return (
        f'<section class="cs-section"><h2>{escape(title)}</h2>{illustrations.figure(drawn)}'
        "</section>"
    )
