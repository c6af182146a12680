"""What a page remembers: its language, its view, and what each view shows, as in its address."""

from __future__ import annotations

from typing import Any, Protocol

from convsmith.errors import ArgumentError
from convsmith.explore.examples import STACKS
from convsmith.explore.phrases import Language, as_language, say
from convsmith.explore.stack import MOST, StackLayer, stack_of, written
from convsmith.explore.state import LayerState

__all__ = ["TABS", "Session"]

TABS = ("layer", "stack", "model")
_SHAPE = "1,3,32,32"


class Query(Protocol):
    """The parameters of an address, as marimo hands them out."""

    def to_dict(self) -> dict[str, Any]:
        """All of them."""

    def set(self, key: str, value: str) -> None:
        """Write one."""

    def remove(self, key: str) -> None:
        """Take one out."""


class Session:
    """The state of one page, read from its address once and written back whenever it changes.

    Nothing here is reactive: the controls are, and they are made anew from here when the language
    or the kind of layer changes.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        given = {k: v if isinstance(v, str) else v[-1] for k, v in query.to_dict().items() if v}
        self.language: Language = _or(as_language, given.get("lang"), "en")
        self.view = given["view"] if given.get("view") in TABS else "layer"
        self.layer, self.complaints = LayerState.from_query(given, self.language)
        self.stack: tuple[StackLayer, ...] = stack_of(STACKS["gridding"])
        if "stack" in given:
            try:
                self.stack = stack_of(given["stack"])
            except ArgumentError:
                self.complaints.append(
                    say(
                        "problem url",
                        self.language,
                        name="stack",
                        value=given["stack"][:40],
                        expected=say("expected stack", self.language, most=MOST),
                    )
                )
        self.model = given.get("model", "")
        self.shape = given.get("shape", _SHAPE)
        step = given.get("step", "")
        self.step = int(step) if step.isascii() and step.isdigit() else 0
        self.stepping = False
        self.guessed: dict[str, int | None] = {}
        self.predict = given.get("predict") == "1"
        self._written = given

    def write(self) -> None:
        """Bring the address up to date; what is as usual is left out of it."""
        wanted = self.to_query()
        for key in self._written.keys() - wanted.keys():
            self._query.remove(key)
        for key, value in wanted.items():
            if self._written.get(key) != value:
                self._query.set(key, value)
        self._written = wanted

    def to_query(self) -> dict[str, str]:
        """The parameters of the address."""
        found: dict[str, str] = {"lang": self.language} if self.language != "en" else {}
        if self.view != "layer":
            found["view"] = self.view
        if self.predict:
            found["predict"] = "1"
        found |= self.layer.to_query()
        if written(self.stack) != STACKS["gridding"]:
            found["stack"] = written(self.stack)
        if self.model:
            found |= {"model": self.model, "shape": self.shape}
            if self.step:
                found["step"] = str(self.step)
        return found


def _or(read: Any, text: str | None, usual: Any) -> Any:
    try:
        return read(text)
    except ArgumentError:
        return usual
