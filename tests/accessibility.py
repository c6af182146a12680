"""axe-core on a page: what it calls serious or critical is a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["check_accessible"]

# Without `preload` style sheets are not asked for once more, which a page from a file may not do.
_RUN = """async () => (await axe.run(
  document, {resultTypes: ["violations"], iframes: false, preload: false})).violations"""


def check_accessible(page, *themes, ready=None):
    """Run axe-core on what a page shows now, in each of the themes, light and dark by default.

    A frame is a page of its own: it is opened, and judged, by itself. A page that puts its theme on
    by a script some time after the browser's changes is loaded again; `ready` is what stands on it
    then.
    """
    package = pytest.importorskip("axe_playwright_python")
    script = Path(package.__file__).with_name("axe.min.js").read_text("utf-8")
    for theme in themes or ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        if ready:
            page.reload()
            page.locator(ready).first.wait_for(timeout=180_000)
        page.evaluate(script)
        found = [
            (each["impact"], each["id"], [node["html"][:160] for node in each["nodes"][:3]])
            for each in page.evaluate(_RUN)
        ]
        serious = [each for each in found if each[0] in ("serious", "critical")]
        assert not serious, (theme, serious)
