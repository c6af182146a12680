"""What mkdocs calls while it builds: pages and pictures that are made, and Chinese pages."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import examples
import gallery
import lesson_pages
import reference
import stages
from mkdocs.structure.files import File, Files


def on_files(files: Files, *, config: Any) -> Files:
    """Add what is made: the reference, the gallery, and what the pages' examples draw.

    Raises:
        RuntimeError: two pages draw pictures of one name, and these differ.
    """
    made = {
        "command-line.md": reference.command_line(),
        "python.md": reference.names(),
        **gallery.gallery(),
        **stages.stages(),
        **lesson_pages.lesson_pages(),
    }
    for page in files.documentation_pages():
        text = Path(str(page.abs_src_path)).read_text("utf-8")
        folder = PurePosixPath(page.src_uri).parent / "pictures"
        for name, svg in examples.pictures(text, page.src_uri).items():
            path = str(folder / name)
            kept = files.get_file_from_path(path)
            if made.get(path, kept.content_string if kept else svg) != svg:
                raise RuntimeError(f"{page.src_uri} draws {path} otherwise than another page")
            made[path] = svg
    for path, content in made.items():
        if files.get_file_from_path(path) is None:
            files.append(File.generated(config, path, content=content))
    return files


def on_page_context(context: Any, *, page: Any, config: Any, nav: Any) -> Any:
    """Name the theme's own words in the language of the page."""
    config.theme["language"] = "zh" if page.file.src_uri.startswith("zh/") else "en"
    return context
