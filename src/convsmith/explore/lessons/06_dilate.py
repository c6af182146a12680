# /// script
# [tool.marimo.display]
# theme = "system"
# ///
# ruff: noqa: B018, D103, N999, RUF100
# mypy: ignore-errors
"""Lesson 6: dilate a segmentation network and prove it."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="convsmith, lesson 6", css_file="../style.css")


@app.cell
def lesson_setup():
    import marimo as mo

    import convsmith as cs
    from convsmith.explore import lessons
    from convsmith.report import count, shape

    language = lessons.language_switch(mo)
    return count, cs, language, lessons, mo, shape


@app.cell
def lesson_page(lessons):
    page_of = lessons.LessonPage
    return (page_of,)


@app.cell
def lesson_head(language, lessons, mo, page_of):
    page = page_of(mo, 6, language.value)
    lessons.remember(mo, language.value)
    page.head(language)
    return (page,)


@app.cell
def intro(page):
    page.md("intro")
    return


@app.cell
def task(page):
    page.md("network")
    return


@app.cell
def asked(lessons, mo):
    g1, g2 = lessons.ask(mo), lessons.ask(mo)
    return g1, g2


@app.cell
def trained(lessons):
    import torch

    from convsmith.explore.lessons import digits

    data = digits.scenes()
    with lessons.alone:
        model = digits.trained_segmenter()
    with torch.no_grad():
        old = model(data.test)
    return data, digits, model, old, torch


@app.cell
def rule(page):
    page.md("rule")
    return


@app.cell
def task_1(g1, page):
    rate = 2 * 2
    page.task("q1", g1, rate)
    return


@app.cell
def chosen(mo, page):
    stride = mo.ui.radio({"1": 1, "2": 2}, value="1", inline=True, label=page.phrase("stride"))
    stride
    return (stride,)


@app.cell
def dilated_once(cs, data, lessons, model, torch):
    from functools import lru_cache

    @lru_cache
    def dilated_to(stride):
        with lessons.alone:
            found = cs.dilate(model, (1, 1, 40, 40), output_stride=stride)
        with torch.no_grad():
            return found, found.model.eval()(data.test)

    return (dilated_to,)


@app.cell
def layers(dilated_to, mo, model, page, stride, torch):
    dilated, new = dilated_to(stride.value)

    def _steps(conv):
        return page.phrase(
            "steps",
            stride=conv.stride[0],
            dilation=conv.dilation[0],
            padding=conv.padding[0],
        )

    _rows = [
        (name, _steps(module), _steps(dilated.model.get_submodule(name)))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    mo.vstack([page.md("layers"), page.table(("layer", "before", "after"), _rows)])
    return dilated, new


@app.cell
def proof(data, dilated, new, old, page, stride):
    _rate = 4 // stride.value
    difference = float((new[..., ::_rate, ::_rate] - old).abs().max())

    def _figure(value):
        return f"{value:.1e}" if value else "0"

    page.md(
        "proof",
        error=_figure(dilated.certificate.error),
        count=len(data.test),
        difference=_figure(difference),
    )
    return (difference,)


@app.cell
def task_2(g2, new, page, stride):
    _rows = new.shape[2]
    page.task("q2", g2, _rows, stride=stride.value, rows=_rows)
    return


@app.cell
def sheets(data, digits, lessons, mo, new, old, page, stride):
    _four = slice(2, 5)
    _columns = {
        page.phrase("sheet"): data.test[_four, 0],
        page.phrase("truth"): data.test_labels[_four],
        page.phrase("old"): digits.upsampled(old, 4).argmax(1)[_four],
        page.phrase("new", stride=stride.value): digits.upsampled(new, stride.value).argmax(1)[
            _four
        ],
    }
    mo.vstack([mo.Html(lessons.sheets(_columns)), page.md("legend")])
    return


@app.cell
def gain(cs, digits, lessons, mo, model, new, old, page, dilated, shape, stride):
    ious = {
        "old": digits.mean_iou(digits.upsampled(old, 4)),
        "new": digits.mean_iou(digits.upsampled(new, stride.value)),
    }
    with lessons.alone:
        _before = cs.inspect(model, (1, 1, 40, 40))
        _after = cs.inspect(dilated.model, (1, 1, 40, 40))
    _rows = [
        (page.phrase("old"), f"{ious['old']:.3f}", _before.params, _before.macs),
        (page.phrase("new", stride=stride.value), f"{ious['new']:.3f}", _after.params, _after.macs),
    ]
    mo.vstack(
        [
            page.md("gain"),
            page.table(("how", "iou", "params", "macs"), _rows),
            page.md(
                "price",
                times=f"{_after.macs / _before.macs:.1f}",
                field=shape(_after.local_receptive_field.size),
            ),
        ]
    )
    return (ious,)


@app.cell
def the_end(mo, page):
    mo.vstack([page.md("end"), page.foot()])
    return


@app.cell
def computed(dilated_to, difference, ious):
    answers = {
        "q1": dilated_to(1)[0].model.get_submodule("12").dilation[0],
        "rows": dilated_to(1)[1].shape[2],
        "difference": difference,
        "exact": dilated_to(1)[0].certificate.exact,
        "ious": ious,
    }
    return (answers,)


if __name__ == "__main__":
    app.run()
