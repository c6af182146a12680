"""What a page remembers: its language, its view, and what each view shows, as in its address."""

from __future__ import annotations

import re
from typing import Any, Protocol

from convsmith.errors import ArgumentError
from convsmith.explore.examples import STACKS
from convsmith.explore.phrases import Language, as_language, phrase
from convsmith.explore.script import EXAMPLE, MOST_CODE
from convsmith.explore.stack import MOST, StackLayer, stack_of, written
from convsmith.explore.state import LayerState

__all__ = ["TABS", "Session"]

TABS = ("layer", "stack", "model", "code")
_SHAPE = "1,3,32,32"
# Characters of code that an address holds; browsers and servers take little more.
_CODE = 1_500


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
        address = {k: v if isinstance(v, str) else v[-1] for k, v in query.to_dict().items() if v}
        self.language: Language = _or(as_language, address.get("lang"), "en")
        self.view = address["view"] if address.get("view") in TABS else "layer"
        self.layer, self.complaints = LayerState.from_query(address, self.language)
        self.stack: tuple[StackLayer, ...] = stack_of(STACKS["gridding"])
        if "stack" in address:
            try:
                self.stack = stack_of(address["stack"])
            except ArgumentError:
                self.complaints.append(
                    phrase(
                        "problem url",
                        self.language,
                        name="stack",
                        value=address["stack"][:40],
                        expected=phrase("expected stack", self.language, most=MOST),
                    )
                )
        self.model = address.get("model", "")
        self.shape = address.get("shape", _SHAPE)
        step = address.get("step", "")
        self.step = int(step) if step.isascii() and step.isdigit() else 0
        extent = address.get("extent", "")
        fits = re.fullmatch(r"\d{1,4}", extent, re.ASCII) and int(extent) > 0
        self.extent = int(extent) if fits else None
        self.code = address.get("code", EXAMPLE)[:MOST_CODE]
        self.live = address.get("live") == "1"
        self.guessed: dict[str, int | None] = {}
        self.predict = address.get("predict") == "1"
        self._written = address

    def write(self) -> None:
        """Bring the address up to date; what is as usual is left out of it."""
        query = self.to_query()
        for key in self._written.keys() - query.keys():
            self._query.remove(key)
        for key, value in query.items():
            if self._written.get(key) != value:
                self._query.set(key, value)
        self._written = query

    def to_query(self) -> dict[str, str]:
        """The parameters of the address."""
        query: dict[str, str] = {"lang": self.language} if self.language != "en" else {}
        if self.view != "layer":
            query["view"] = self.view
        if self.predict:
            query["predict"] = "1"
        query |= self.layer.to_query()
        if self.live:
            query["live"] = "1"
        if written(self.stack) != STACKS["gridding"]:
            query["stack"] = written(self.stack)
        if self.extent:
            query["extent"] = str(self.extent)
        if self.code != EXAMPLE and len(self.code) <= _CODE:
            query["code"] = self.code
        if self.model:
            query |= {"model": self.model, "shape": self.shape}
            if self.step:
                query["step"] = str(self.step)
        return query


def _or(read: Any, text: str | None, usual: Any) -> Any:
    try:
        return read(text)
    except ArgumentError:
        return usual
