"""`convsmith lessons`: the lessons in the browser, or exported to be served without Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from convsmith.cli.output import Force, talk
from convsmith.errors import ArgumentError

__all__ = ["command"]


def command(
    number: Annotated[
        int | None, typer.Argument(metavar="NUMBER", help="Lesson to open; without it, the list.")
    ] = None,
    language: Annotated[str, typer.Option(help="en or zh.")] = "en",
    port: Annotated[
        int | None, typer.Option(help="Port; default: first free port from 2718.")
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")
    ] = True,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the lessons that need no PyTorch as plain pages, then exit.",
        ),
    ] = None,
    python: Annotated[
        bool,
        typer.Option(
            "--python",
            help="With --export: notebooks with sliders, which fetch Python (100 MB) when opened.",
        ),
    ] = False,
    force: Force = False,
) -> None:
    """Learn about convolutions: six lessons with pictures and exercises, in English and Chinese."""
    from convsmith.explore.lessons import LESSONS, index_page, lesson
    from convsmith.explore.phrases import as_language

    code = as_language(language)
    first = None if number is None else lesson(number)
    if python and export is None:
        raise ArgumentError("--python says how to --export: pass a folder, too")
    if export is not None and python:
        from convsmith.explore.lessons.export import export_lessons

        folder = export_lessons(export, force=force)
        talk(f"wrote {folder}; serve it over HTTP, say: python -m http.server -d {folder}")
        return
    if export is not None:
        from convsmith.explore.lessons.static import static_lessons

        folder = static_lessons(export, force=force)
        talk(f"wrote {folder}; open {folder / 'index.html'}")
        return
    from convsmith.explore.serve import address, free_port, make_app, serve

    def index(query: Mapping[str, str]) -> str:
        return index_page("zh" if query.get("lang", code) == "zh" else "en")

    app = make_app({f"/{each.number}": each.path for each in LESSONS}, index)
    chosen = free_port(port)
    path = "/" if first is None else f"/{first.number}/"
    url = address(chosen, path, {"lang": code} if code != "en" else {})
    talk(f"lessons at {url} (Ctrl+C ends it)")
    serve(app, chosen, url, browser=browser)
