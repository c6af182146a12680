# /// script
# [tool.marimo.display]
# theme = "system"
# ///
# ruff: noqa: B018, D103, N999, RUF100
# mypy: ignore-errors
"""Lesson 2: groups, depthwise, pointwise, separable, and what they cost."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="convsmith, lesson 2", css_file="../style.css")


@app.cell
def lesson_setup():
    import marimo as mo

    import convsmith as cs
    from convsmith import explore
    from convsmith.explore import lessons

    language = lessons.language_switch(mo)
    return cs, explore, language, lessons, mo


@app.cell
def lesson_page(lessons):
    page_of = lessons.LessonPage
    return (page_of,)


@app.cell
def lesson_head(language, lessons, mo, page_of):
    page = page_of(mo, 2, language.value)
    lessons.remember(mo, language.value)
    page.head(language)
    return (page,)


@app.cell
def intro(page):
    page.md("intro")
    return


@app.cell
def asked(lessons, mo):
    g1, g2, g3, g4, g5, g6, g7, g8 = (lessons.ask(mo) for _ in range(8))
    return g1, g2, g3, g4, g5, g6, g7, g8


@app.cell
def grouped(mo, page):
    groups = mo.ui.slider(1, 6, value=2, label=page.phrase("groups"), show_value=True)
    mo.vstack([page.md("grouped"), groups, page.md("divide")])
    return (groups,)


@app.cell
def grouped_scene(cs, explore, groups, mo, page):
    _state = explore.LayerState(
        in_channels=6, out_channels=4, groups=groups.value, size=(4, 4), bias=False
    )
    _why = explore.problem(_state, page.language)
    (
        mo.Html(explore.problem_panel(_why))
        if _why
        else page.scene(cs.draw.animate(_state.layer(), _state.size))
    )
    return


@app.cell
def grouped_stage(mo, page):
    mo.vstack([page.md("groups apart"), page.stage("grouped")])
    return


@app.cell
def task_1(answers, g1, page):
    page.task("q1", g1, answers["q1"])
    return


@app.cell
def depthwise(cs, mo, page):
    mo.vstack([page.md("depthwise"), page.scene(cs.draw.animate(cs.Conv(3, 3, 3, groups=3), 5))])
    return


@app.cell
def pointwise(answers, cs, mo, page):
    mo.vstack(
        [
            page.md("pointwise", macs=f"{answers['pointwise']:,}"),
            page.scene(cs.draw.animate(cs.Conv(3, 2, 1), 4)),
        ]
    )
    return


@app.cell
def separable(mo, page):
    n = mo.ui.slider(
        steps=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
        value=64,
        label=page.phrase("n"),
        show_value=True,
        full_width=True,
    )
    k = mo.ui.slider(1, 11, value=3, label=page.phrase("k"), show_value=True, full_width=True)
    mo.vstack([page.md("separable"), mo.Html(f'<div class="cs-knobs">{n}{k}</div>')])
    return k, n


@app.cell
def ratio(explore, k, mo, n, page):
    _state = explore.LayerState(
        in_channels=64,
        out_channels=n.value,
        kernel=(k.value, k.value),
        size=(56, 56),
        padding="same",
    )
    mo.Html(explore.cost_panel(_state, page.language))
    return


@app.cell
def example(cs, mo, page):
    _depthwise, _pointwise = cs.Conv(3, 4, 3).separable()
    half = cs.draw.animate(_depthwise, 5)
    # The pointwise half reads what the depthwise half has written.
    _maps = [
        [[half.values(f"output{c}")[r, k] for k in range(3)] for r in range(3)] for c in range(3)
    ]
    whole = cs.draw.animate(_pointwise, 3, values=_maps)
    mo.vstack([page.md("example"), page.scene(half), page.scene(whole)])
    return half, whole


@app.cell
def separable_stage(mo, page):
    mo.vstack([page.md("channels meet"), page.stage("separable")])
    return


@app.cell
def task_2(answers, g2, page):
    page.task("q2", g2, answers["q2"])
    return


@app.cell
def task_3(answers, g3, page):
    page.task("q3", g3, answers["q3"])
    return


@app.cell
def shapes(lessons, mo, page):
    typed = mo.ui.text_area(
        lessons.EXAMPLE, label=page.phrase("lines"), rows=9, debounce=300, full_width=True
    )
    mo.vstack([page.md("shapes"), mo.Html(f'<div class="cs-typed">{typed}</div>')])
    return (typed,)


@app.cell
def shapes_read(mo, page, typed):
    mo.vstack([page.script(typed.value), page.md("order")])
    return


@app.cell
def six_ways(answers, mo, page):
    _rows = [(page.phrase(name), *counts) for name, counts in answers["table"].items()]
    mo.vstack([page.md("table"), page.table(("layer", "params", "macs"), _rows)])
    return


@app.cell
def backwards(answers, mo, page):
    _one, _three, _five = answers["sizes"]
    mo.vstack(
        [
            page.md("backwards"),
            page.stage("cost"),
            page.md("sizes", one=f"{_one:,}", three=f"{_three:,}", five=f"{_five:,}"),
        ]
    )
    return


@app.cell
def task_4(answers, g4, page):
    page.task("q4", g4, answers["q4"])
    return


@app.cell
def faults(answers, g5, g6, g7, g8, mo, page):
    mo.vstack(
        [
            page.md("faults"),
            page.task("q5", g5, answers["q5"]),
            page.task("q6", g6, answers["q6"]),
            page.task("q7", g7, answers["q7"]),
            page.task("q8", g8, answers["q8"]),
        ]
    )
    return


@app.cell
def the_end(mo, page):
    mo.vstack([page.md("end"), page.foot()])
    return


@app.cell
def computed(cs):
    _standard = cs.Conv(3, 30, 10)
    _forms = {
        "standard": _standard,
        "dilated": cs.Conv(3, 30, 10, dilation=2),
        "three groups": cs.Conv(3, 30, 10, groups=3),
        "one by one": cs.Conv(3, 30, 1),
        "in two": _standard.separable(),
    }
    # A fully connected layer is a convolution whose kernel is the whole map.
    _dense = cs.Conv(3, 30 * 10 * 10, 10)
    _exercise = cs.Conv(3, 10, 3).separable()
    _middle = _exercise.output_shape((1, 3, 128, 128))[2]
    answers = {
        "q1": cs.Conv(64, 128, 3, groups=4, bias=False).params,
        "q2": _exercise.output_shape((1, 3, 128, 128))[2],
        "q3": _exercise.params,
        "q4": _standard.params - _standard.separable().params,
        "sizes": [cs.Conv(64, 64, k, bias=False).params for k in (1, 3, 5)],
        # As written, the 1×1 layer has a kernel of 3.
        "q5": cs.Conv(3, 10, 3).output_size(_middle)[0],
        "q6": 2,  # the line with a comma for a dot
        # What a convolution asks for whose weight is stored as (3, 10, 3, 3).
        "q7": cs.Conv(10, 3, 3).in_channels,
        "q8": next(s for s in range(1, 9) if cs.Conv(3, 8, 3, s, 1).output_size(224)[0] == 112),
        "pointwise": cs.Conv(100, 50, 1).macs(224),
        "table": {"fully connected": (_dense.params, _dense.macs(10))}
        | {name: (form.params, form.macs(32)) for name, form in _forms.items()},
    }
    return (answers,)


if __name__ == "__main__":
    app.run()
