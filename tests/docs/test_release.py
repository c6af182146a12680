"""A release: the texts it speaks through agree, and the check before it names what does not."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest

from convsmith._version import __version__

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^## \[(.+?)\](?: - (.+))?$", re.MULTILINE)
GIT = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
READY = {
    "src/convsmith/_version.py": '__version__ = "1.2.0"\n',
    "CITATION.cff": "title: convsmith\nversion: 1.2.0\n",
    "CHANGELOG.md": (
        "## [Unreleased]\n\n## [1.2.0] - 2026-01-31\n\n- new\n\n## [1.1.0] - 2026-01-01\n"
    ),
}


def test_the_version_is_the_same_everywhere() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_changelog_sections_are_dated_and_the_newest_comes_first() -> None:
    first, *releases = SECTION.findall((ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert first == ("Unreleased", "")
    assert releases[0][0] == __version__
    days = [date.fromisoformat(day) for _, day in releases]
    assert days == sorted(days, reverse=True)
    numbers = [tuple(map(int, version.split("."))) for version, _ in releases]
    assert numbers == sorted(set(numbers), reverse=True)


def check(folder: Path) -> tuple[int, str]:
    """Run the check of the texts in a repository; its status, and what it complains about."""
    command = ["bash", str(folder / ".ci" / "release-check"), "--texts"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def git(folder: Path, *words: str) -> None:
    subprocess.run([*GIT, "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A repository that is ready to be released, but for its wheel."""
    for name, text in READY.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release-check", tmp_path / ".ci")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "a commit")


def test_a_commit_that_is_ready_passes(ready: Path) -> None:
    assert check(ready) == (0, "")


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("CITATION.cff", "1.2.0", "1.1.0", "CITATION.cff does not have 1.2.0"),
        ("CHANGELOG.md", " - 2026-01-31", "", "no dated section for 1.2.0"),
        ("CHANGELOG.md", "1.2.0", "1.3.0", "no dated section for 1.2.0"),
        ("CHANGELOG.md", "[Unreleased]\n", "[Unreleased]\n\n- more\n", "entries under Unreleased"),
    ],
)
def test_each_text_that_is_not_ready_is_named(
    ready: Path, name: str, old: str, new: str, complaint: str
) -> None:
    path = ready / name
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    commit(ready)
    status, errors = check(ready)
    assert status == 1
    assert complaint in errors
    assert errors.count("\n") == 1


def test_uncommitted_files_and_an_existing_tag_are_named(ready: Path) -> None:
    git(ready, "tag", "v1.2.0")
    (ready / "more.txt").write_text("x", "utf-8")
    status, errors = check(ready)
    assert status == 1
    assert errors.splitlines() == [
        "release: files differ from the commit: git status",
        "release: the tag v1.2.0 exists already",
    ]
