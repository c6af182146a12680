"""The explorer and the lessons: what every convolution does, with every parameter to try.

The pages are marimo notebooks; what they show is made here, from plain state, and needs neither a
browser nor torch.

>>> from convsmith import explore
>>> explore.pytorch_code(explore.LayerState(in_channels=3, out_channels=10))
'nn.Conv2d(3, 10, 3)'
"""

from convsmith.explore.code import pytorch_code
from convsmith.explore.controls import (
    extent_of,
    fields_of,
    form_of,
    guess_of,
    kind_of,
    of_kind,
    read_extent,
    read_fields,
    read_stack,
    stack_rows,
)
from convsmith.explore.examples import LAYERS, STACKS
from convsmith.explore.guess import QUESTIONS, judge, verdict_panel
from convsmith.explore.illustrations import exported, svg
from convsmith.explore.pages import (
    numbers_panel,
    question_panel,
    scene_panel,
    stack_page,
    walk_page,
)
from convsmith.explore.panels import (
    cost_panel,
    problem_panel,
    shared_size,
    size_panel,
    stack_panel,
    stack_table,
    summary_panel,
)
from convsmith.explore.phrases import LANGUAGE_NAMES, phrase
from convsmith.explore.problems import problem
from convsmith.explore.samples import SAMPLE
from convsmith.explore.script import MOST_CODE, script_panel
from convsmith.explore.session import TABS, Session
from convsmith.explore.stack import MOST, stack_of
from convsmith.explore.state import LayerState
from convsmith.explore.walk import is_open, open_model, trust, use_loader

__all__ = [
    "LANGUAGE_NAMES",
    "LAYERS",
    "MOST",
    "MOST_CODE",
    "QUESTIONS",
    "SAMPLE",
    "STACKS",
    "TABS",
    "LayerState",
    "Session",
    "cost_panel",
    "exported",
    "extent_of",
    "fields_of",
    "form_of",
    "guess_of",
    "is_open",
    "judge",
    "kind_of",
    "numbers_panel",
    "of_kind",
    "open_model",
    "phrase",
    "problem",
    "problem_panel",
    "pytorch_code",
    "question_panel",
    "read_extent",
    "read_fields",
    "read_stack",
    "scene_panel",
    "script_panel",
    "shared_size",
    "size_panel",
    "stack_of",
    "stack_page",
    "stack_panel",
    "stack_rows",
    "stack_table",
    "summary_panel",
    "svg",
    "trust",
    "use_loader",
    "verdict_panel",
    "walk_page",
]


def __dir__() -> list[str]:
    return list(__all__)
