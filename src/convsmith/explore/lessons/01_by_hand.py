# /// script
# [tool.marimo.display]
# theme = "system"
# ///
# ruff: noqa: B018, D103, N999, RUF100
# mypy: ignore-errors
"""Lesson 1: a convolution by hand, and padding."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="convsmith, lesson 1", css_file="../style.css")


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
    page = page_of(mo, 1, language.value)
    lessons.remember(mo, language.value)
    page.head(language)
    return (page,)


@app.cell
def intro(page):
    page.md("intro")
    return


@app.cell
def numbers(cs):
    image = [[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]]
    kernel = [[1, 0], [2, 1]]
    valid = cs.arithmetic.evaluate(cs.Conv(1, 1, 2, bias=False), image, kernel)
    same = cs.arithmetic.evaluate(cs.Conv(1, 1, 2, padding="same", bias=False), image, kernel)
    return image, kernel, same, valid


@app.cell
def hand(mo, page):
    row = mo.ui.slider(0, 2, label=page.phrase("row"), show_value=True)
    column = mo.ui.slider(0, 2, label=page.phrase("column"), show_value=True)
    mo.vstack([page.md("hand"), mo.hstack([row, column], justify="start", wrap=True, gap=2)])
    return column, row


@app.cell
def one_sum(column, image, kernel, mo, page, row, valid):
    _taps = [(r, c) for r in (0, 1) for c in (0, 1)]
    _products = " + ".join(
        f"{image[row.value + r][column.value + c]}·{kernel[r][c]}" for r, c in _taps
    )
    _cell = "<td{}>{}</td>"
    _under = {(row.value + r, column.value + c) for r, c in _taps}
    _rows = "".join(
        "<tr>"
        + "".join(
            _cell.format(' class="on"' if (r, c) in _under else "", image[r][c]) for c in range(4)
        )
        + "</tr>"
        for r in range(4)
    )
    _kernel = "".join(
        "<tr>" + "".join(_cell.format("", v) for v in line) + "</tr>" for line in kernel
    )
    _sum = f"y[{row.value}, {column.value}] = {_products} = {valid[row.value][column.value]}"
    mo.Html(
        f'<div class="cs-maps"><table>{_rows}</table><table>{_kernel}</table>'
        f'<b role="status">{_sum}</b></div>'
    )
    return


@app.cell
def asked(lessons, mo):
    given = [lessons.ask(mo) for _ in range(5)]
    g1, g2, g3, g4, g5 = given
    return g1, g2, g3, g4, g5


@app.cell
def task_1(answers, g1, page):
    page.task("q1", g1, answers["q1"])
    return


@app.cell
def padding(page):
    page.md("padding")
    return


@app.cell
def task_2(answers, g2, page):
    page.task("q2", g2, answers["q2"])
    return


@app.cell
def same_scene(cs, image, kernel, mo, page):
    _conv = cs.Conv(1, 1, 2, padding="same", bias=False)
    mo.vstack([page.md("same"), page.scene(cs.draw.animate(_conv, 4, values=image, weight=kernel))])
    return


@app.cell
def touched(mo, page):
    mo.vstack([page.md("touch"), page.stage("hand")])
    return


@app.cell
def size(mo, page):
    h = mo.ui.slider(1, 32, value=7, label=page.phrase("length"), show_value=True, full_width=True)
    k = mo.ui.slider(1, 9, value=3, label=page.phrase("kernel"), show_value=True, full_width=True)
    s = mo.ui.slider(1, 5, value=2, label=page.phrase("stride"), show_value=True, full_width=True)
    p = mo.ui.slider(0, 5, value=1, label=page.phrase("pad"), show_value=True, full_width=True)
    mo.vstack([page.md("size"), mo.Html(f'<div class="cs-knobs">{h}{k}{s}{p}</div>')])
    return h, k, p, s


@app.cell
def size_shown(explore, h, k, mo, p, page, s):
    _state = explore.LayerState(
        size=(h.value, h.value),
        kernel=(k.value, k.value),
        stride=(s.value, s.value),
        padding=((p.value, p.value), (p.value, p.value)),
    )
    _why = explore.problem(_state, page.language)
    mo.Html(explore.problem_panel(_why) if _why else explore.size_panel(_state, page.language))
    return


@app.cell
def task_3(answers, g3, page):
    page.task("q3", g3, answers["q3"])
    return


@app.cell
def modes(mo, page):
    mode = mo.ui.dropdown(
        ["zeros", "reflect", "replicate", "circular"], value="reflect", label=page.phrase("mode")
    )
    mo.vstack([page.md("modes"), mode])
    return (mode,)


@app.cell
def mode_scene(cs, image, mode, page):
    page.scene(
        cs.draw.animate(cs.Conv(1, 1, 3, padding=1, padding_mode=mode.value), 4, values=image)
    )
    return


@app.cell
def channels(cs, mo, page):
    mo.vstack([page.md("channels"), page.scene(cs.draw.animate(cs.Conv(3, 2, 3), 5))])
    return


@app.cell
def task_4(answers, g4, page):
    page.task("q4", g4, answers["q4"])
    return


@app.cell
def task_5(answers, g5, page):
    page.task("q5", g5, answers["q5"])
    return


@app.cell
def counting(answers, page):
    page.md("count", macs=f"{answers['macs']:,}", flops=f"{answers['flops']:,}")
    return


@app.cell
def all_parameters(mo, page):
    _rows = [
        ("in_channels", "does in", "× m", ""),
        ("out_channels", "does out", "× n", "n maps"),
        ("kernel_size", "does kernel", "× k·k", "− (k − 1)"),
        ("stride", "does stride", "", "÷ s"),
        ("padding", "does padding", "", "+ 2·p"),
        ("dilation", "does dilation", "", "− d·(k − 1)"),
        ("groups", "does groups", "÷ g", ""),
        ("bias", "does bias", "+ n", ""),
        ("padding_mode", "does mode", "", ""),
    ]
    _shown = [
        (name, page.phrase(does), weights, page.phrase(output) if output == "n maps" else output)
        for name, does, weights, output in _rows
    ]
    _heads = ("parameter", "does", "weights", "output")
    mo.vstack([page.md("all"), page.table(_heads, _shown, texts=2)])
    return


@app.cell
def other_names(page):
    page.md("names")
    return


@app.cell
def the_end(mo, page):
    mo.vstack([page.md("end"), page.foot()])
    return


@app.cell
def computed(cs, same, valid):
    _exercise = cs.Conv(3, 10, 3)
    answers = {
        "q1": valid[1][1],
        "q2": same[3][3],
        "q3": cs.Conv(1, 1, 7, 2, 3).output_size(224)[0],
        "q4": _exercise.output_size(128)[0],
        "q5": _exercise.params,
        "macs": _exercise.macs(128, batch=4),
        "flops": _exercise.flops(128, batch=4),
        "same": same,
    }
    return (answers,)


if __name__ == "__main__":
    app.run()
