# /// script
# [tool.marimo.display]
# theme = "system"
# ///
# ruff: noqa: B018, D103, N999, RUF100
# mypy: ignore-errors
"""Lesson 3: dilation, receptive field, gridding."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="convsmith, lesson 3", css_file="../style.css")


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
    page = page_of(mo, 3, language.value)
    lessons.remember(mo, language.value)
    page.head(language)
    return (page,)


@app.cell
def intro(page):
    page.md("intro")
    return


@app.cell
def asked(lessons, mo):
    g1, g2, g3, g4 = (lessons.ask(mo) for _ in range(4))
    return g1, g2, g3, g4


@app.cell
def depth(cs, mo, page):
    mo.vstack([page.md("depth"), page.figure(cs.report.gridding_picture([1, 1, 1]))])
    return


@app.cell
def maps(mo, page):
    mo.vstack([page.md("maps"), page.stage("field")])
    return


@app.cell
def task_1(answers, g1, page):
    page.task("q1", g1, answers["q1"])
    return


@app.cell
def stride(explore, mo, page):
    mo.vstack(
        [
            page.md("stride"),
            mo.Html(explore.stack_table(explore.stack_of("3-p2-3-p2-3"), page.language)),
        ]
    )
    return


@app.cell
def dilation(mo, page):
    d = mo.ui.slider(1, 4, value=2, label=page.phrase("rate"), show_value=True)
    mo.vstack([page.md("dilation"), d])
    return (d,)


@app.cell
def dilated_scene(cs, d, mo, page):
    _conv = cs.Conv(1, 1, 3, dilation=d.value, padding=d.value)
    mo.vstack(
        [
            page.md("span", d=d.value, span=_conv.windows[0].extent, params=_conv.params),
            page.scene(cs.draw.animate(_conv, 7)),
        ]
    )
    return


@app.cell
def kept(mo, page):
    mo.vstack([page.md("kept"), page.stage("dilated"), page.md("filled"), page.stage("filled")])
    return


@app.cell
def task_2(answers, g2, page):
    page.task("q2", g2, answers["q2"])
    return


@app.cell
def double(cs, mo, page):
    mo.vstack([page.md("double"), page.figure(cs.report.gridding_picture([1, 2, 4]))])
    return


@app.cell
def wavenet(mo, page):
    mo.vstack([page.md("wavenet"), page.stage("wavenet")])
    return


@app.cell
def task_3(answers, g3, page):
    page.task("q3", g3, answers["q3"])
    return


@app.cell
def gridding(cs, mo, page, stack):
    _seen = stack(2, 2, 2).receptive_field()
    mo.vstack(
        [
            page.md("gridding"),
            page.figure(cs.report.gridding_picture([2, 2, 2])),
            page.figure(cs.report.field_picture([(_seen, _seen)])),
        ]
    )
    return


@app.cell
def grid(mo, page):
    mo.vstack([page.md("grid"), page.stage("gridding")])
    return


@app.cell
def task_4(answers, g4, page):
    page.task("q4", g4, answers["q4"])
    return


@app.cell
def repair(mo, page):
    r1, r2, r3 = (
        mo.ui.slider(1, 6, value=2, label=page.phrase("layer", number=i), show_value=True,
                     full_width=True)
        for i in (1, 2, 3)
    )  # fmt: skip
    mo.vstack([page.md("repair"), mo.Html(f'<div class="cs-knobs">{r1}{r2}{r3}</div>')])
    return r1, r2, r3


@app.cell
def repaired(cs, mo, page, r1, r2, r3, stack):
    _rates = [r.value for r in (r1, r2, r3)]
    _seen = stack(*_rates).receptive_field()
    solved = _seen.span == 13 and not _seen.largest_gap
    _verdict = (
        page.phrase("solved")
        if solved
        else page.phrase("unsolved", span=_seen.span, read=len(_seen))
    )
    mo.vstack(
        [
            mo.Html(
                f'<p class="cs-verdict {"right" if solved else "not"}" role="status">{_verdict}</p>'
            ),
            page.figure(cs.report.gridding_picture(_rates)),
            page.md("wide") if solved else mo.md(""),
        ]
    )
    return (solved,)


@app.cell
def depthwise(cs, mo, page):
    _conv = cs.Conv(3, 3, 3, groups=3, dilation=2, padding=2)
    mo.vstack([page.md("depthwise"), page.scene(cs.draw.animate(_conv, 5))])
    return


@app.cell
def the_end(mo, page):
    mo.vstack([page.md("end"), page.foot()])
    return


@app.cell
def stacks(cs):
    def stack(*rates):
        return cs.Chain(*(cs.Conv(1, 1, 3, dilation=rate) for rate in rates))

    return (stack,)


@app.cell
def computed(cs, stack):
    _grid = stack(2, 2, 2).receptive_field()
    answers = {
        "q1": stack(*[1] * 10).receptive_field().span,
        "q2": cs.Window(3, dilation=4).extent,
        "q3": stack(1, 2, 4, 8).receptive_field().span,
        "q4": len(_grid) ** 2,
        "fields": [stack(*rates).receptive_field().span for rates in ([1], [1, 1], [1, 1, 1])],
        "double": [stack(*rates).receptive_field().span for rates in ([1], [1, 2], [1, 2, 4])],
        "no holes": [len(stack(*r).receptive_field()) for r in ([1, 2, 3], [1, 2, 5])],
        "depthwise": cs.Conv(3, 3, 3, groups=3, dilation=2, padding=2).output_size(5),
    }
    return (answers,)


if __name__ == "__main__":
    app.run()
