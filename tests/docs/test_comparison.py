"""The table beside other teachers: every row leads to something of ours that is there."""

from __future__ import annotations

import re
from pathlib import Path

from convsmith.draw.scenes.stages import STAGES
from convsmith.explore.lessons.lesson import LESSONS

DOCS = Path(__file__).parents[2] / "docs"
OTHERS = ("conv_arithmetic", "ezyang", "CNN Explainer", "animatedai", "Distill", "d2l")


def _leads_somewhere(link: str) -> bool:
    if found := re.fullmatch(r"stage/(\w+)\.html", link):
        return found[1] in STAGES
    if found := re.fullmatch(r"lesson/(\d)/index\.html", link):
        return any(str(each.number) == found[1] and not each.torch for each in LESSONS)
    page, _, anchor = link.partition("#")
    if page == "gallery.md":  # the site writes it, and its own test follows the link
        return not anchor
    titles = re.findall(r"^#+ (.+)", (DOCS / page).read_text("utf-8"), re.MULTILINE)
    return not anchor or anchor in {title.lower().replace(" ", "-") for title in titles}


def test_every_row_beside_another_teacher_has_links_of_ours() -> None:
    lines = (DOCS / "lessons.md").read_text("utf-8").splitlines()
    rows = {
        other: line.strip("|").split("|")
        for other in OTHERS
        for line in lines
        if line.startswith("| ") and other in line.split("|")[1]
    }
    assert set(rows) == set(OTHERS)
    for other, cells in rows.items():
        links = re.findall(r"\]\(([^)]+)\)", cells[-1])
        assert links, other
        assert not [link for link in links if not _leads_somewhere(link)], other
