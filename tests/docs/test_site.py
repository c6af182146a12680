"""The built site: complete, nothing loaded from elsewhere, every link and anchor there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import typer
from typer.main import get_command

from convsmith.cli.main import VERBS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted(DOCS.rglob("*.md"))]
# Made when the site is built.
MADE = {"command-line.md", "gallery.md", "python.md", "zh/gallery.md"}

CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        line.removeprefix("$ convsmith ").partition("  #")[0].strip()
        for page in PAGES
        for block in CONSOLE.findall(page.read_text(encoding="utf-8"))
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("$ convsmith ")
    }
)
# What a page fetches by itself; a link is fetched only when it is followed.
LOADED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
# Links to places, not to what the page is made of.
PLACES = {"canonical", "next", "prev", "alternate"}


class Page(HTMLParser):
    """The anchors, links and resources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.language = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "html":
            self.language = given.get("lang", "")
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and not PLACES & set(given.get("rel", "").split()):
            self.resources.append(given["href"])
        self.resources += [given[name] for name in LOADED.get(tag, ()) if name in given]
        self.resources += re.findall(r"url\(\s*['\"]?([^'\")]+)", given.get("style", ""))


def navigation() -> list[str]:
    """The pages that mkdocs.yml names."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    inside = text.partition("\nnav:\n")[2].partition("\n\n")[0]
    return re.findall(r"([\w/-]+\.md)$", inside, flags=re.MULTILINE)


def test_every_page_is_in_the_navigation() -> None:
    there = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    named = navigation()
    assert len(named) == len(set(named))
    assert set(named) == there | MADE


def test_every_english_page_that_has_a_chinese_one_says_so_and_back() -> None:
    for chinese in (DOCS / "zh").glob("*.md"):
        english = DOCS / chinese.name
        assert f"[中文](zh/{chinese.name})" in english.read_text(encoding="utf-8")
        assert f"[English](../{chinese.name})" in chinese.read_text(encoding="utf-8")


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_a_page_is_taken_by_the_program(line: str) -> None:
    """The verb is there and takes these options; what they do is tested elsewhere."""
    name, *words = shlex.split(line)
    given = import_module(VERBS[name].module).command
    if not isinstance(given, typer.Typer):
        app = typer.Typer()
        app.command(name)(given)
        given = app
    command = get_command(given)
    context = command.make_context(name, words)
    # A verb with commands of its own leaves the rest to one of them.
    while words and hasattr(command, "commands"):
        inner, *words = words
        command = command.commands[inner]
        context = command.make_context(inner, words, parent=context)
    assert context.params


def test_the_examples_of_the_reference() -> None:
    command = [sys.executable, "-m", "doctest", str(DOCS / "_site" / "reference.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_command_that_is_none_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        test_a_command_of_a_page_is_taken_by_the_program("draw conv --in 5x5 --colour red")


@pytest.mark.slow
def test_the_site(tmp_path: Path) -> None:
    """One build, and all that can be asked of it: building takes most of the time."""
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > len(navigation())
    assert _broken(site, pages) == []
    assert [*_foreign(site, pages)] == []
    wrong = {
        path.relative_to(site).as_posix(): page.language
        for path, page in pages.items()
        if page.language.partition("-")[0] != ("zh" if _is_chinese(path, site) else "en")
    }
    assert wrong == {}


def _is_chinese(path: Path, site: Path) -> bool:
    """Whether a page is the Chinese one: of the site, or of the lessons."""
    return path.is_relative_to(site / "zh") or path.name == "zh.html"


def _foreign(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Everything that a page or a sheet or a picture would load from another place."""
    for path, page in pages.items():
        for each in page.resources:
            if urlsplit(each).scheme not in ("", "data") or each.startswith("//"):
                yield f"{path.relative_to(site)}: {each}"
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        text = path.read_text(encoding="utf-8")
        loads = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", text)
        loads += [("", each) for each in re.findall(r"(?:href|src)=\"([^\"]+)\"", text)]
        for each in (one or other for one, other in loads):
            if not each.startswith(("data:", "#")) and (urlsplit(each).scheme or "//" in each):
                yield f"{path.relative_to(site)}: {each}"


def _broken(site: Path, pages: dict[Path, Page]) -> list[str]:
    """Links, anchors and resources that lead nowhere."""
    broken = []
    for path, page in pages.items():
        base = f"/{path.relative_to(site).as_posix()}"
        # The page for what is missing stands anywhere, so its links begin at the root.
        for each in [] if path.name == "404.html" else [*page.links, *page.resources]:
            parts = urlsplit(urljoin(base, each))
            if parts.scheme or parts.netloc:
                continue
            target = site / unquote(parts.path).lstrip("/")
            target = target / "index.html" if target.is_dir() else target
            # What a stage opens with is no place on its page.
            anchor = "" if "=" in parts.fragment else unquote(parts.fragment)
            if not target.is_file() or (
                anchor and target in pages and anchor not in pages[target].anchors
            ):
                broken.append(f"{base}: {each}")
    return broken
