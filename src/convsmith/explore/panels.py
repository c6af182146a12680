"""What the explorer shows of a layer and of a stack, as HTML: no notebook, no browser needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import prod

from convsmith.arithmetic import Conv, Pool
from convsmith.explore.code import pytorch_code
from convsmith.explore.formulas import (
    Formula,
    macs_formula,
    params_formula,
    ratio_sum,
    size_formulas,
)
from convsmith.explore.phrases import Language, phrase
from convsmith.explore.problems import problem
from convsmith.explore.stack import StackLayer, repair, steps
from convsmith.explore.state import LayerState
from convsmith.report import count, percent, shape
from convsmith.report.text import escape

__all__ = [
    "code_panel",
    "cost_panel",
    "note",
    "problem_panel",
    "shared_size",
    "size_panel",
    "stack_panel",
    "stack_table",
    "summary_panel",
    "transposed_views",
]


def summary_panel(state: LayerState, language: Language) -> str:
    """One line: what goes in, what comes out, what it costs; or why nothing comes out.

    >>> summary_panel(LayerState(), "en").count("<b>")
    4
    """
    if why := problem(state, language):
        return problem_panel(why)
    layer = state.layer()
    outputs = layer.output_size(state.size)
    facts = [
        (phrase("input", language), shape((state.in_channels, *state.size))),
        (phrase("output", language), shape((state.output_channels(), *outputs))),
        (phrase("params", language), count(layer.params)),
        (phrase("macs", language), count(layer.macs(state.size))),
    ]
    cells = "".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in facts)
    return f'<div class="cs-summary" role="status">{cells}</div>'


def problem_panel(why: str) -> str:
    """The one line that says why there is nothing to see."""
    return f'<p class="cs-problem" role="alert">{escape(why)}</p>'


def size_panel(state: LayerState, language: Language) -> str:
    """The output's size: the formula in letters, with the numbers, and what is left unread."""
    formulas = size_formulas(state)
    notes = []
    if len(formulas) == 1:
        notes.append(phrase("both axes", language))
    if state.padding == "same" and state.kind == "conv":
        rows, columns = map(sum, state.sides)
        if rows % 2 or columns % 2:
            notes.append(phrase("same uneven", language, rows=rows, columns=columns))
    if state.kind != "transposed" and not state.ceil_mode:
        rows, columns = (
            window.dropped(length)
            for window, length in zip(state.layer().windows, state.size, strict=True)
        )
        if (rows or columns) and state.padding_mode == "zeros":
            notes.append(phrase("dropped", language, rows=rows, columns=columns))
    return _section(phrase("output size", language), _formulas(formulas) + _notes(notes))


def cost_panel(state: LayerState, language: Language) -> str:
    """Parameters and multiply-adds, beside the standard and the depthwise separable form."""
    layer = state.layer()
    title = phrase("cost", language)
    if isinstance(layer, Pool):
        return _section(title, _notes([phrase("pool cost", language)]))
    formulas = [params_formula(state), macs_formula(state)]
    named = zip(formulas, (phrase("params", language), phrase("macs", language)), strict=True)
    filled = [Formula(name, f.letters, f.numbers, f.value) for f, name in named]
    rows = [(phrase("this layer", language), layer.params, layer.macs(state.size))]
    notes = []
    if state.groups > 1:
        whole = LayerState(**{**state.__dict__, "groups": 1}).layer()
        rows.append((phrase("standard", language), whole.params, whole.macs(state.size)))
        part = Fraction(1, state.groups)
        notes.append(phrase("ratio standard", language, part=part))
    if isinstance(layer, Conv):
        if layer.is_pointwise:
            notes.append(phrase("ratio is pointwise", language))
        elif layer.is_depthwise:
            notes.append(phrase("ratio is depthwise", language))
        else:
            split = layer.separable()
            rows.append((phrase("separable", language), split.params, split.macs(state.size)))
            notes.append(_ratio(layer, language))
    padding = 1 - Fraction(layer.real_macs(state.size), layer.macs(state.size))
    if padding and state.padding_mode == "zeros":
        key = "on cut" if layer.transposed else "on padding"
        notes.append(phrase(key, language, share=percent(float(padding))))
    return _section(title, _bars(rows, language) + _formulas(filled) + _notes(notes))


def _ratio(layer: Conv, language: Language) -> str:
    written, share = ratio_sum(layer)
    if share >= 1:
        return phrase("ratio more", language, sum=written, share=percent(float(share)))
    key = "ratio separable" if layer.groups == 1 else "ratio separable groups"
    return phrase(
        key,
        language,
        sum=written,
        share=percent(float(share)),
        times=f"{float(1 / share):.1f}",
    )


def transposed_views(state: LayerState, language: Language) -> list[tuple[str, str]]:
    """The three views of a transposed convolution, told with its numbers: a name and a text."""
    layer = state.layer()
    outputs = layer.output_size(state.size)
    between = [s - 1 for s in state.stride]
    around = [
        tuple(d * (k - 1) - p for p in sides)
        for d, k, sides in zip(state.dilation, state.kernel, state.sides, strict=True)
    ]
    flat = {n for sides in around for n in sides}
    zeros = phrase(
        "zeros text",
        language,
        between=_alike(between),
        around=flat.pop() if len(flat) == 1 else "; ".join(map(str, around)),
    )
    matrix = phrase(
        "matrix text",
        language,
        output=shape(outputs),
        input=shape(state.size),
        rows=prod(state.size),
        columns=prod(outputs),
    )
    return [
        (phrase("view stamp", language), phrase("stamp text", language)),
        (phrase("view zeros", language), zeros),
        (phrase("view matrix", language), matrix),
    ]


def shared_size(state: LayerState, language: Language) -> str:
    """Which output sizes a strided convolution would all shrink to this input; or nothing."""
    if state.stride[0] == 1:
        return ""
    layer = state.layer()
    window, rows = layer.windows[0], layer.output_size(state.size)[0]
    lengths = [
        length
        for length in range(max(1, rows - window.stride), rows + window.stride)
        if length + sum(window.padding) >= window.extent
        and window.output_length(length) == state.size[0]
    ]
    sizes = (" 或 " if language == "zh" else " or ").join(map(str, lengths))
    return note(phrase("several sizes", language, sizes=sizes, output=state.size[0]))


def code_panel(state: LayerState, language: Language) -> str:
    """The line of PyTorch."""
    code = f'<pre class="cs-code"><code>{escape(pytorch_code(state))}</code></pre>'
    return _section(phrase("code", language), code)


def stack_panel(stack: tuple[StackLayer, ...], language: Language) -> str:
    """What one output value of a stack sees, in sentences."""
    seen = steps(stack)[-1].seen
    size = shape((seen.span, seen.span))
    sentences = [phrase("stack field", language, size=size)]
    read, every = len(seen) ** 2, seen.span**2
    if read == every:
        sentences.append(phrase("stack full", language))
    else:
        sentences.append(
            phrase(
                "stack holes",
                language,
                read=count(read),
                every=count(every),
                share=percent(read / every),
                gap=seen.largest_gap,
            )
        )
        if rates := repair(stack):
            sentences.append(phrase("stack repair", language, rates=", ".join(map(str, rates))))
    glue = "" if language == "zh" else " "
    return f'<p class="cs-lead" role="status">{escape(glue.join(sentences))}</p>'


def stack_table(stack: tuple[StackLayer, ...], language: Language) -> str:
    """Layer by layer: the field, how much of it is read, and how far apart neighbours look."""
    heads = [
        phrase(key, language) for key in ("stack layer", "stack seen", "stack read", "stack step")
    ]
    rows = []
    for index, step in enumerate(steps(stack), 1):
        name = (
            phrase(f"kind {step.layer.kind}", language)
            if step.layer.kind != "pool"
            else phrase("kind max", language)
        )
        sizes = f"{step.layer.kernel}×{step.layer.kernel}"
        sizes += f", s = {step.layer.stride}" * (step.layer.stride > 1)
        sizes += f", d = {step.layer.dilation}" * (step.layer.dilation > 1)
        span = step.seen.span
        rows.append(
            [
                f"{index}. {name} {sizes}",
                shape((span, span)),
                percent(len(step.seen) ** 2 / span**2),
                "–" if step.jump is None else str(step.jump),
            ]
        )
    return _section(phrase("stack steps", language), table(heads, rows))


def note(text: str) -> str:
    """A line of small text."""
    return f'<p class="cs-note">{escape(text)}</p>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    """A small table: the first columns, as many as `texts`, are text; the others are figures."""
    kinds = [' class="said"' if at < texts else "" for at in range(len(heads))]
    top = "".join(map(_head, heads, kinds))
    cells = (
        "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        for row in rows
    )
    return _figures(top, "".join(f"<tr>{each}</tr>" for each in cells))


def _cell(words: str) -> str:
    """A cell, where a name may break after an underscore rather than in a word."""
    return escape(words).replace("_", "_<wbr>")


def _figures(top: str, body: str) -> str:
    """A table that scrolls by itself, also by keyboard, where the page is narrow."""
    return (
        f'<div class="cs-wide" tabindex="0"><table class="cs-figures"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _head(words: str, kind: str = "") -> str:
    """A heading; a corner without words heads nothing."""
    return f"<th{kind}>{escape(words)}</th>" if words else "<td></td>"


def _bars(rows: Sequence[tuple[str, int, int]], language: Language) -> str:
    most = max(macs for _, _, macs in rows) or 1
    heads = ["", phrase("params", language), phrase("macs", language)]
    top = "".join(map(_head, heads))
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{count(params)}</td><td>{count(macs)}</td></tr>"
        f'<tr class="bar" aria-hidden="true"><td colspan="3">'
        f'<i style="width:{100 * macs / most:.2f}%"></i></td></tr>'
        for name, params, macs in rows
    )
    return _figures(top, body)


def _formulas(formulas: Iterable[Formula]) -> str:
    blocks = []
    for formula in formulas:
        letters, numbers = formula.lines()
        head, _, value = numbers.rpartition(" = ")
        blocks.append(
            f'<p class="cs-formula"><span>{escape(letters)}</span>'
            f"<span>{escape(head)} = <b>{escape(value)}</b></span></p>"
        )
    return "".join(blocks)


def _notes(notes: Sequence[str]) -> str:
    return "".join(map(note, notes))


def _section(title: str, inner: str) -> str:
    return f'<section class="cs-section"><h2>{escape(title)}</h2>{inner}</section>'


def _alike(pair: Sequence[int]) -> str:
    return str(pair[0]) if len(set(pair)) == 1 else shape(pair)
