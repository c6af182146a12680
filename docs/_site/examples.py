"""The pictures of the pages are what the examples on them write.

`python docs/_site/examples.py` writes those of the two READMEs, which are kept in the repository;
those of the other pages are made when the site is built.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
# Where the pictures of a README lie, beside the pages of its language.
READMES = {"README.md": DOCS / "pictures", "README.zh-CN.md": DOCS / "zh" / "pictures"}

_BLOCK = re.compile(r"^```(python|console)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def drawn(text: str) -> list[list[str]]:
    """The arguments of every `$ convsmith draw … -o FILE.svg` of a page, in order."""
    lines = (
        line.removeprefix("$ convsmith ")
        for language, block in _BLOCK.findall(text)
        if language == "console"
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("$ convsmith draw ")
    )
    commands = [shlex.split(line, comments=True) for line in lines]
    return [words for words in commands if words[-1].endswith(".svg")]


def pictures(text: str, name: str) -> dict[str, str]:
    """Do what the examples of a page do that draw, and return the SVG files they leave.

    Raises:
        RuntimeError: an example that fails or prints something else.
    """
    from convsmith.cli import main

    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        for words in drawn(text):
            if main(words):
                raise RuntimeError(f"{name}: convsmith {shlex.join(words)} failed")
        for language, block in _BLOCK.findall(text):
            # Such a block stands for itself: the rest of the page need not be run before it.
            if language == "python" and '.svg"' in block:
                _run(block, name)
        return {path.name: path.read_text("utf-8") for path in sorted(Path().glob("*.svg"))}


def _run(source: str, name: str) -> None:
    test = doctest.DocTestParser().get_doctest(source, {"__name__": "__main__"}, name, name, 0)
    told = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    if runner.run(test, out=told.write).failed:
        raise RuntimeError(f"{name}: {told.getvalue()}")


def write_readmes(root: Path = ROOT, docs: Path | None = None) -> list[Path]:
    """Write the pictures of the READMEs, below `docs` in place of the repository's if it is given.

    Files that are the same are left alone.
    """
    written = []
    for name, home in READMES.items():
        folder = home if docs is None else docs / home.relative_to(DOCS)
        folder.mkdir(parents=True, exist_ok=True)
        for file, svg in pictures((root / name).read_text("utf-8"), name).items():
            path = folder / file
            if not path.exists() or path.read_text("utf-8") != svg:
                path.write_text(svg, "utf-8", newline="\n")
            written.append(path)
    return written


if __name__ == "__main__":
    for each in write_readmes(docs=Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(each)
