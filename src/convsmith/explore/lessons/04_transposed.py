# /// script
# [tool.marimo.display]
# theme = "system"
# ///
# ruff: noqa: B018, D103, N999, RUF100
# mypy: ignore-errors
"""Lesson 4: the transposed convolution and the matrix."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="convsmith, lesson 4", css_file="../style.css")


@app.cell
def lesson_setup():
    import marimo as mo
    import numpy as np

    import convsmith as cs
    from convsmith import explore
    from convsmith.arithmetic import convolution_matrix, evaluate, im2col
    from convsmith.explore import lessons

    language = lessons.language_switch(mo)
    return convolution_matrix, cs, evaluate, explore, im2col, language, lessons, mo, np


@app.cell
def lesson_page(lessons):
    page_of = lessons.LessonPage
    return (page_of,)


@app.cell
def lesson_head(language, lessons, mo, page_of):
    page = page_of(mo, 4, language.value)
    lessons.remember(mo, language.value)
    page.head(language)
    return (page,)


@app.cell
def intro(page):
    page.md("intro")
    return


@app.cell
def asked(lessons, mo):
    g1, g2, g3 = (lessons.ask(mo) for _ in range(3))
    return g1, g2, g3


@app.cell
def numbers():
    kernel = [[1, 2, 1], [2, 1, 2], [1, 1, 2]]
    small = [[2, 1], [4, 3]]
    return kernel, small


@app.cell
def stamp(cs, kernel, mo, page, small):
    _layer = cs.ConvTranspose(1, 1, 3, bias=False)
    mo.vstack(
        [page.md("stamp"), page.scene(cs.draw.animate(_layer, 2, values=small, weight=kernel))]
    )
    return


@app.cell
def one(mo, page):
    value = mo.ui.slider(1, 99, value=55, label=page.phrase("value"), show_value=True)
    mo.vstack([page.md("one"), value])
    return (value,)


@app.cell
def one_stamp(cs, evaluate, kernel, mo, value):
    _stamp = evaluate(cs.ConvTranspose(1, 1, 3, bias=False), [[value.value]], kernel)
    _rows = "".join("<tr>" + "".join(f"<td>{n}</td>" for n in row) + "</tr>" for row in _stamp)
    mo.Html(f'<div class="cs-maps"><table>{_rows}</table></div>')
    return


@app.cell
def reached(mo, page):
    mo.vstack([page.md("reached"), page.stage("transposed")])
    return


@app.cell
def task_1(answers, g1, page):
    page.task("q1", g1, answers["q1"])
    return


@app.cell
def zeros(cs, kernel, mo, page, small):
    _layer = cs.ConvTranspose(1, 1, 3, bias=False)
    _scene = cs.draw.animate(_layer, 2, values=small, weight=kernel, view="zeros")
    mo.vstack([page.md("zeros"), page.scene(_scene)])
    return


@app.cell
def matrix(mo, page):
    mo.vstack(
        [
            page.md("matrix"),
            page.stage("matrix"),
            page.md("both"),
            page.stage("matrix_transposed"),
        ]
    )
    return


@app.cell
def task_2(answers, g2, page):
    page.task("q2", g2, answers["q2"])
    return


@app.cell
def columns(answers, mo, page):
    _verdict = page.phrase("equal" if answers["agree"] else "different")
    mo.vstack([page.md("im2col"), page.stage("im2col"), page.md("agree", verdict=_verdict)])
    return


@app.cell
def no_inverse(answers, mo, page):
    def _grid(key, rows):
        _rows = "".join("<tr>" + "".join(f"<td>{n}</td>" for n in row) + "</tr>" for row in rows)
        return f"<div><p>{page.phrase(key)}</p><table>{_rows}</table></div>"

    _maps = _grid("before", answers["before"]) + _grid("after", answers["after"])
    mo.vstack([page.md("values"), mo.Html(f'<div class="cs-maps">{_maps}</div>')])
    return


@app.cell
def output_padding(mo, page):
    def _slider(key, low, high, value):
        return mo.ui.slider(
            low, high, value=value, label=page.phrase(key), show_value=True, full_width=True
        )

    h, k, s = _slider("size", 1, 12, 3), _slider("kernel", 1, 7, 3), _slider("stride", 1, 4, 2)
    p, o = _slider("pad", 0, 3, 1), _slider("extra", 0, 3, 0)
    mo.vstack([page.md("output padding"), mo.Html(f'<div class="cs-knobs">{h}{k}{s}{p}{o}</div>')])
    return h, k, o, p, s


@app.cell
def size_shown(explore, h, k, mo, o, p, page, s):
    _state = explore.LayerState(
        kind="transposed",
        size=(h.value, h.value),
        kernel=(k.value, k.value),
        stride=(s.value, s.value),
        padding=((p.value, p.value), (p.value, p.value)),
        output_padding=(o.value, o.value),
    )
    _why = explore.problem(_state, page.language)
    mo.Html(
        explore.problem_panel(_why)
        if _why
        else explore.size_panel(_state, page.language) + explore.shared_size(_state, page.language)
    )
    return


@app.cell
def task_3(answers, g3, page):
    page.task("q3", g3, answers["q3"])
    return


@app.cell
def checkerboard(mo, page):
    over_k = mo.ui.slider(1, 6, value=3, label=page.phrase("kernel"), show_value=True)
    over_s = mo.ui.slider(1, 4, value=2, label=page.phrase("stride"), show_value=True)
    mo.vstack([page.md("checkerboard"), mo.Html(f'<div class="cs-knobs">{over_k}{over_s}</div>')])
    return over_k, over_s


@app.cell
def overlaps(mo, over_k, over_s, page):
    _even = over_k.value % over_s.value == 0
    mo.vstack(
        [
            page.overlaps(over_k.value, over_s.value),
            page.md("even" if _even else "uneven", k=over_k.value, s=over_s.value),
        ]
    )
    return


@app.cell
def the_end(mo, page):
    mo.vstack([page.md("end"), page.foot()])
    return


@app.cell
def computed(convolution_matrix, cs, evaluate, im2col, kernel, np, small):
    _conv, _back = cs.Conv(1, 1, 3, bias=False), cs.ConvTranspose(1, 1, 3, bias=False)
    _image = [[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]]
    _slid = np.array(evaluate(_conv, _image, kernel))
    _stamped = np.array(evaluate(_back, small, kernel))
    _matrix = convolution_matrix(_conv, kernel, 4)
    _columns = np.array(kernel).reshape(1, 9) @ im2col(_conv, _image)
    _ones = [[1] * 3] * 3
    answers = {
        "q1": max(map(max, evaluate(_back, [[1, 1]], _ones))),
        "q2": _matrix.nnz,
        "q3": cs.ConvTranspose(1, 1, 3, 2, 1, 1).output_size(3)[0],
        "stamp": evaluate(_back, [[55]], kernel),
        "shape": _matrix.shape,
        "agree": bool(
            (_matrix @ np.ravel(_image) == _slid.ravel()).all()
            and (_columns.ravel() == _slid.ravel()).all()
            and (_matrix.T @ np.ravel(small) == _stamped.ravel()).all()
        ),
        "before": _image,
        "after": evaluate(_back, _slid.tolist(), kernel),
    }
    return (answers,)


if __name__ == "__main__":
    app.run()
