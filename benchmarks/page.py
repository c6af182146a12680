"""Put the tables of benchmarks into a page: `python -m benchmarks.page PAGE.md FILE.json ...`.

Each file's tables, with the command, the machine and the goals missed, replace what stands between
`<!-- NAME, threads N -->` and `<!-- end -->`; the name is followed by ` bf16` for a run in it, and
by ` on PROCESSOR` where a page shows a run on another one beside. The words around them are written
by hand.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.__main__ import load
from benchmarks.markdown import markdown
from convsmith.errors import ArgumentError

__all__ = ["filled", "section"]


def filled(page: str, document: dict[str, Any]) -> str:
    """The page with the section of one benchmark's figures rewritten.

    Raises:
        ArgumentError: if the page has no place for them.
    """
    narrow = " bf16" if document["options"].get("precision") == "bf16" else ""
    name, threads = f"{document['benchmark']}{narrow}", f"threads {document['options']['threads']}"
    usual = f"<!-- {name}, {threads} -->"
    own = f"<!-- {name} on {document['machine']['model']}, {threads} -->"
    mark = own if _place(own).search(page) else usual
    if not _place(mark).search(page):
        raise ArgumentError(f"the page has no {usual} with <!-- end --> below")
    written = f"{mark}\n{section(document)}\n<!-- end -->"
    return _place(mark).sub(lambda _: written, page, count=1)


def _place(mark: str) -> re.Pattern[str]:
    return re.compile(re.escape(mark) + r"\n.*?^<!-- end -->", re.DOTALL | re.MULTILINE)


def section(document: dict[str, Any]) -> str:
    """The command, the machine, the tables and the misses of one run."""
    machine = document["machine"]
    # Folders of this machine mean nothing to readers of the page.
    words = [word.rpartition("/")[2] for word in document["command"].split(" ")]
    words = [word for word in words if word != "--force"]
    versions = {**document.get("versions", {}), "convsmith": document["convsmith"]}
    named = {
        machine_version: name.partition(" bf16")[0]
        for name, machine_version in reversed(list(versions.items()))
        if name not in ("eager", "channels_last", "torch.compile")
    }
    limits = document.get("limits") or {
        "gflops": machine["peak"]["fma_gflops"],
        "gb_s": machine["peak"]["copy_gb_s"],
    }
    commit = (machine["commit"] or "none")[:9]
    text = [
        f"`{' '.join(words)}`, {document['date'][:10]}, commit {commit}; "
        f"{machine['model']}, {machine['cores']} cores usable, "
        f"{' '.join(machine['instruction_sets'])}; {limits['gflops']} GFLOP/s, "
        f"{limits['gb_s']} GB/s (copy); torch {machine['torch']}, "
        + ", ".join(f"{name} {version}" for version, name in named.items() if version)
        + ".",
    ]
    for table in load(document["benchmark"]).tables(document):
        text += [f"**{table.title}**", markdown(table)]
    missed = document["missed"]
    text.append("Missed:" if missed else "All goals are reached.")
    if missed:
        text.append("\n".join(f"- {line}" for line in missed))
    return "\n" + "\n\n".join(text) + "\n"


def _short(commit: str | None) -> str:
    """Nine digits of the commit, and `+` if files differ from it."""
    return commit[:9] + "+" * commit.endswith("+") if commit else "unknown"


def main(page: str, *files: str) -> None:
    target = Path(page)
    text = target.read_text(encoding="utf-8")
    for file in files:
        text = filled(text, json.loads(Path(file).read_text(encoding="utf-8")))
    target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
