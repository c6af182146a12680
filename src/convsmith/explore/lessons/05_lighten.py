# /// script
# [tool.marimo.display]
# theme = "system"
# ///
# ruff: noqa: B018, D103, N999, RUF100
# mypy: ignore-errors
"""Lesson 5: lighten a trained network and watch the clock."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="convsmith, lesson 5", css_file="../style.css")


@app.cell
def lesson_setup():
    import marimo as mo

    import convsmith as cs
    from convsmith.explore import lessons
    from convsmith.report import count, percent

    language = lessons.language_switch(mo)
    return count, cs, language, lessons, mo, percent


@app.cell
def lesson_page(lessons):
    page_of = lessons.LessonPage
    return (page_of,)


@app.cell
def lesson_head(language, lessons, mo, page_of):
    page = page_of(mo, 5, language.value)
    lessons.remember(mo, language.value)
    page.head(language)
    return (page,)


@app.cell
def intro(page):
    page.md("intro")
    return


@app.cell
def asked(lessons, mo):
    g1 = lessons.ask(mo)
    return (g1,)


@app.cell
def trained(lessons):
    import torch

    from convsmith.explore.lessons import digits

    data = digits.digits()
    with lessons.alone:
        model = digits.trained_classifier()
    return data, digits, model, torch


@app.cell
def the_network(count, cs, data, lessons, mo, model, page, percent):
    with lessons.alone:
        report = cs.inspect(model, (1, 1, 8, 8))
    _some = [(str(int(data.test_labels[i])), data.test[i : i + 1, 0]) for i in range(8)]
    _rows = [
        (f"{layer.name} · {page.operation(report, layer)}", layer.params, layer.macs,
         percent(layer.macs / report.macs))
        for layer in report.layers
        if layer.kind in ("convolution", "linear")
    ]  # fmt: skip
    _rows.append((page.phrase("all"), report.params, report.macs, percent(1.0)))
    mo.vstack(
        [
            page.md("data", train=count(len(data.train)), test=count(len(data.test))),
            mo.Html(lessons.sheets(_some)),
            page.table(("layer", "params", "macs", "share"), _rows),
            page.md("where"),
        ]
    )
    return (report,)


@app.cell
def task_1(cs, g1, page):
    pair = cs.Conv(64, 128, 3, bias=False).separable().params
    page.task("q1", g1, pair)
    return (pair,)


@app.cell
def replace(page):
    page.md("replace")
    return


@app.cell
def lightened(cs, data, digits, lessons, model):
    with lessons.alone:
        timing = cs.rewrite.Timing(compiled=False)
        light = cs.lighten(model, data.train, multiplier=1, timing=timing)
        tuned = cs.lighten(
            model,
            data.train,
            multiplier=1,
            train=data.batches(),
            epochs=3,
            timing=timing,
            run=cs.rewrite.Run(evaluate=digits.accuracy),
        )
    return light, tuned


@app.cell
def compared(cs, digits, lessons, light, mo, model, page, percent, report, tuned):
    networks = {"original": model, "lightened": light.model, "tuned": tuned.model}
    scores = {name: digits.accuracy(network.eval()) for name, network in networks.items()}
    with lessons.alone:
        small = cs.inspect(tuned.model, (1, 1, 8, 8))
    _counts = dict.fromkeys(networks, small) | {"original": report}
    _rows = [
        (page.phrase(name), _counts[name].params, _counts[name].macs, percent(scores[name]))
        for name in networks
    ]
    scores["control"] = tuned.report.control.accuracy
    _rows.append((page.phrase("control"), small.params, small.macs, percent(scores["control"])))
    mo.vstack(
        [
            page.table(("network", "params", "macs", "accuracy"), _rows),
            page.md(
                "result",
                params=f"{report.params / small.params:.1f}",
                macs=f"{report.macs / small.macs:.1f}",
            ),
        ]
    )
    return networks, scores, small


@app.cell
def clock(data, digits, networks, torch):
    example = data.test[:1]
    _threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = {name: digits.milliseconds(networks[name], example) for name in ("original", "tuned")}
    torch.set_num_threads(_threads)
    return example, times


@app.cell
def clock_shown(mo, page, times):
    again = mo.ui.run_button(label=page.phrase("compile"))
    _ratio = times["original"] / times["tuned"]
    mo.vstack(
        [
            page.md("clock"),
            page.table(
                ("network", "ms"), [(page.phrase(name), f"{ms:.3f}") for name, ms in times.items()]
            ),
            page.md("faster", times=f"{_ratio:.2f}")
            if _ratio > 1
            else page.md("slower", times=f"{1 / _ratio:.2f}"),
            page.md("why"),
            again,
        ]
    )
    return (again,)


@app.cell
def compiled(again, cs, digits, example, lessons, mo, networks, page, times):
    mo.stop(not again.value)
    try:
        _rows = []
        for _name, _ms in times.items():
            with lessons.alone:
                _fast = cs.compile(networks[_name], example, threads=1)
            _rows.append(
                (page.phrase(_name), f"{_ms:.3f}", f"{digits.milliseconds(_fast, example):.3f}")
            )
        _shown = page.table(("network", "ms", "compiled"), _rows)
    except cs.ConvsmithError as _error:
        _shown = page.md("no compile", reason=_error)
    _shown
    return


@app.cell
def the_end(mo, page):
    mo.vstack([page.md("end"), page.foot()])
    return


@app.cell
def computed(digits, light, pair, report, scores, small):
    answers = {
        "q1": pair,
        "params": (report.params, small.params),
        "scores": scores | {"light": digits.accuracy(light.model)},
    }
    return (answers,)


if __name__ == "__main__":
    app.run()
