# /// script
# [tool.marimo.display]
# theme = "system"
# ///
# ruff: noqa: B018, D103
# mypy: ignore-errors
"""The explorer: every control of a convolution, and what it changes."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="convsmith explore", css_file="style.css")


@app.cell
def setup():
    from functools import partial

    import marimo as mo

    from convsmith import errors
    from convsmith import explore as cx

    session = cx.Session(mo.query_params())
    # The elements that set it stand in the cells that read it.
    made, make = mo.state(0, allow_self_loops=True)
    revealed, reveal = mo.state(None)
    wanted, read = mo.state(None)
    return cx, errors, made, make, mo, partial, read, reveal, revealed, session, wanted


@app.cell
def head(cx, mo, session):
    language = mo.ui.radio(
        cx.LANGUAGE_NAMES,
        value=next(key for key, code in cx.LANGUAGE_NAMES.items() if code == session.language),
        inline=True,
    )
    mo.Html(f'<div class="cs-head"><h1>convsmith explore</h1>{language}</div>')
    return (language,)


@app.cell
def words(cx, language, partial, session):
    lang = session.language = language.value
    phrase = partial(cx.phrase, language=lang)
    session.write()
    return lang, phrase


@app.cell
def views(cx, mo, phrase, session):
    _names = {phrase(f"view {name}"): name for name in cx.TABS}
    view = mo.ui.radio(
        _names, value=next(k for k, v in _names.items() if v == session.view), inline=True
    )
    _notes = "".join(cx.problem_panel(line) for line in session.complaints)
    session.complaints = []
    mo.Html(f'<div class="cs-views-bar">{view}</div>{_notes}')
    return (view,)


@app.cell
def layer_example(cx, made, make, mo, phrase, session, view):
    session.view = view.value
    session.write()
    mo.stop(view.value != "layer")
    made()

    def _start(name):
        if name:
            session.layer = cx.LAYERS[name]
            make(lambda n: n + 1)

    example = mo.ui.dropdown(
        {phrase(f"example {name}"): name for name in cx.LAYERS},
        label=phrase("start from"),
        on_change=_start,
        full_width=True,
    )
    kind = cx.kind_of(mo, session.layer, session.language)
    predict = mo.ui.switch(session.predict, label=phrase("predict"))
    live = mo.ui.switch(session.live, label=phrase("live"))
    mo.Html(
        f'<div class="cs-controls"><fieldset><div>{example}</div><div>{kind}</div>'
        f"<div>{predict}</div><div>{live}</div></fieldset></div>"
    )
    return kind, live, predict


@app.cell
def layer_form(cx, kind, lang, mo, session):
    session.layer = cx.of_kind(session.layer, kind.value)
    form = cx.form_of(mo, session.layer, lang)
    form
    return (form,)


@app.cell
def layer_fields(cx, form, lang, mo, session):
    fields = cx.fields_of(mo, session.layer, form.value, lang)
    fields
    return (fields,)


@app.cell
def layer_state(cx, fields, form, session):
    layer = session.layer = cx.read_fields(session.layer, form.value, fields.value)
    session.write()
    return (layer,)


@app.cell
def guessing(cx, lang, layer, mo, predict, reveal, phrase, session):
    session.predict = predict.value
    session.write()
    asks = predict.value and cx.problem(layer, lang) is None
    guess = cx.guess_of(mo, session.guessed, lang)
    answer = mo.ui.button(label=phrase("reveal"), on_click=lambda _: reveal(session.layer))
    # As text: a panel that named `guess` would be drawn anew, and lose what is being typed next.
    question = f'{cx.question_panel(layer, lang)}{guess}<div class="cs-buttons">{answer}</div>'
    return answer, asks, guess, question


@app.cell
def guessed(guess, session):
    session.guessed = guess.value
    return


@app.cell
def layer_summary(asks, cx, lang, layer, mo, question, revealed, session):
    shown = cx.problem(layer, lang) is None and (not asks or revealed() == layer)
    mo.Html(
        cx.summary_panel(layer, lang)
        + (cx.verdict_panel(cx.judge(layer, session.guessed), lang) if asks else "")
        if shown or not asks
        else question
    )
    return (shown,)


@app.cell
def layer_picture(cx, lang, layer, live, mo, session, shown):
    session.live = live.value
    session.write()
    mo.stop(not shown)
    mo.Html(cx.scene_panel(layer, lang, live.value))
    return


@app.cell
def layer_numbers(cx, lang, layer, mo, shown):
    mo.stop(not shown)
    mo.Html(cx.numbers_panel(layer, lang))
    return


@app.cell
def layer_export(cx, lang, layer, mo, partial, phrase, shown):
    mo.stop(not shown)
    _kinds = {"svg": "image/svg+xml", "gif": "image/gif", "html": "text/html"}
    _buttons = "".join(
        mo.download(
            partial(cx.exported, layer, lang, f".{name}"),
            filename=f"convolution.{name}",
            mimetype=kind,
            label=phrase(f"save {name}"),
        ).text
        for name, kind in _kinds.items()
    )
    mo.Html(
        f'<section class="cs-section"><h2>{phrase("export")}</h2>'
        f'<div class="cs-buttons">{_buttons}</div></section>'
    )
    return


@app.cell
def stack_example(cx, made, make, mo, phrase, session, view):
    mo.stop(view.value != "stack")
    made()

    def _start(name):
        if name:
            session.stack = cx.stack_of(cx.STACKS[name])
            make(lambda n: n + 1)

    def _change(stack):
        session.stack = stack[: cx.MOST]
        make(lambda n: n + 1)

    # marimo calls back only what has a public name.
    series = mo.ui.dropdown(
        {phrase(f"stack {name}"): name for name in cx.STACKS},
        label=phrase("stack example"),
        on_change=_start,
        full_width=True,
    )
    adds = mo.ui.button(
        label=phrase("add layer"),
        on_click=lambda _: _change((*session.stack, session.stack[-1])),
        disabled=len(session.stack) >= cx.MOST,
    )
    removes = mo.ui.button(
        label=phrase("remove layer"),
        on_click=lambda _: _change(session.stack[:-1]),
        disabled=len(session.stack) < 2,
    )
    extent = cx.extent_of(mo, session.extent, session.language)
    rows = cx.stack_rows(mo, session.stack, session.language)
    mo.Html(
        f'<div class="cs-controls"><p class="cs-note">{phrase("stack lead")}</p>'
        f"<fieldset><div>{series}</div><div>{extent}</div></fieldset>{rows}"
        f'<div class="cs-buttons">{adds}{removes}</div></div>'
    )
    return adds, extent, removes, rows, series


@app.cell
def stack_result(cx, extent, lang, mo, rows, session):
    stack = session.stack = cx.read_stack(rows.value)
    session.extent = cx.read_extent(extent.value)
    session.write()
    mo.Html(cx.stack_page(stack, lang, session.extent))
    return (stack,)


@app.cell
def model_form(cx, mo, read, phrase, session, view):
    mo.stop(view.value != "model")
    asked = mo.Html("<fieldset><div>{spec}</div><div>{shape}</div></fieldset>").batch(
        spec=mo.ui.text(session.model or cx.SAMPLE, label=phrase("model name"), full_width=True),
        shape=mo.ui.text(session.shape, label=phrase("model shape"), full_width=True),
    )
    reads = mo.ui.button(label=phrase("model read"), on_click=lambda _: read(dict(asked.value)))
    mo.Html(
        f'<div class="cs-controls"><p class="cs-note">{phrase("model lead")}</p>{asked}'
        f'<div class="cs-buttons">{reads}</div><p class="cs-note">{phrase("model hint")}</p></div>'
    )
    return (reads,)


@app.cell
def model_walk(cx, errors, mo, phrase, session, view, wanted):
    mo.stop(view.value != "model")
    if wanted():
        cx.trust(wanted()["spec"])
        session.model, session.shape = wanted()["spec"], wanted()["shape"]
    _spec = session.model or cx.SAMPLE
    mo.stop(not cx.is_open(_spec), mo.Html(f'<p class="cs-note">{phrase("model none")}</p>'))
    try:
        walk = cx.open_model(_spec, session.shape)
    except errors.ConvsmithError as _error:
        mo.stop(True, mo.Html(cx.problem_panel(str(_error))))
    _last = len(walk.layers)
    step = mo.ui.slider(
        1,
        _last,
        value=min(max(1, session.step), _last),
        label=phrase("model walk"),
        show_value=True,
        full_width=True,
    )
    mo.Html(f'<div class="cs-controls"><fieldset><div>{step}</div></fieldset></div>')
    return step, walk


@app.cell
def model_layer(cx, lang, mo, session, step, walk):
    session.step = step.value
    session.layer = walk.states.get(walk.layers[step.value - 1].name, session.layer)
    session.write()
    mo.Html(cx.walk_page(walk, step.value - 1, lang))
    return


@app.cell
def code_form(cx, mo, phrase, session, view):
    mo.stop(view.value != "code")
    typed = mo.ui.text_area(
        session.code,
        label=phrase("code label"),
        rows=16,
        max_length=cx.MOST_CODE,
        debounce=300,
        full_width=True,
    )
    mo.Html(
        f'<div class="cs-controls"><p class="cs-note">{phrase("code lead")}</p>'
        f'<div class="cs-typed">{typed}</div></div>'
    )
    return (typed,)


@app.cell
def code_result(cx, lang, mo, session, typed):
    session.code = typed.value
    session.write()
    mo.Html(f'<div role="status">{cx.script_panel(typed.value, lang)}</div>')
    return


if __name__ == "__main__":
    app.run()
