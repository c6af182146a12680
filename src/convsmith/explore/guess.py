"""Predict, then reveal: a reader's guess held against the layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from convsmith.explore.phrases import Language, phrase
from convsmith.explore.state import LayerState
from convsmith.report import count
from convsmith.report.text import escape

__all__ = ["QUESTIONS", "Guess", "answers", "judge", "verdict_panel"]

QUESTIONS = ("rows", "columns", "params")


@dataclass(frozen=True)
class Guess:
    """One answer: what was asked, what was guessed (None: nothing), and what is right."""

    question: str
    guessed: int | None
    answer: int

    @property
    def right(self) -> bool:
        """Whether the guess is the answer."""
        return self.guessed == self.answer


def answers(state: LayerState) -> dict[str, int]:
    """What is right.

    >>> answers(LayerState(in_channels=3, out_channels=10, size=(128, 128)))
    {'rows': 126, 'columns': 126, 'params': 280}
    """
    layer = state.layer()
    rows, columns = layer.output_size(state.size)
    return {"rows": rows, "columns": columns, "params": layer.params}


def judge(state: LayerState, guessed: Mapping[str, int | float | None]) -> list[Guess]:
    """Hold a guess against the layer; a question that was left out counts as wrong."""
    guesses = []
    for question, answer in answers(state).items():
        value = guessed.get(question)
        guesses.append(Guess(question, None if value is None else int(value), answer))
    return guesses


def verdict_panel(guesses: list[Guess], language: Language) -> str:
    """The guesses beside what is right."""
    rows = []
    for guess in guesses:
        mark, verdict = ("✓", phrase("guess right", language))
        if not guess.right:
            mark, verdict = "✗", phrase("guess wrong", language, answer=count(guess.answer))
        shown = "–" if guess.guessed is None else count(guess.guessed)
        rows.append(
            f'<tr class="{"right" if guess.right else "wrong"}">'
            f"<td>{escape(phrase(f'guess {guess.question}', language))}</td>"
            f"<td>{shown}</td><td>{mark} {escape(verdict)}</td></tr>"
        )
    end = phrase("guess all" if all(guess.right for guess in guesses) else "guess some", language)
    return (
        f'<table class="cs-figures cs-guess" role="status"><tbody>{"".join(rows)}</tbody></table>'
        f'<p class="cs-note">{escape(end)}</p>'
    )
