"""The ready-made stages of `convsmith draw stage` as pages of this site, in each language."""

from __future__ import annotations

from convsmith.draw.scenes.stages import STAGES, ready_stage
from convsmith.draw.words import LANGUAGES


def stages() -> dict[str, str]:
    """Files by their paths below the pages'."""
    return {
        f"{'' if language == 'en' else f'{language}/'}stage/{name}.html": ready_stage(
            name, language=language
        ).html()
        for language in LANGUAGES
        for name in STAGES
    }
