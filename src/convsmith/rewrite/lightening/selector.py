"""Which form each convolution takes: the least loss that fits the budget, by measured time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

import torch
from torch import nn

from convsmith.errors import ArgumentError
from convsmith.measure import inspect
from convsmith.network import Network
from convsmith.network.modules import copied
from convsmith.rewrite.lightening.bracket import Bracket
from convsmith.rewrite.lightening.candidates import Candidate, Choice
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.fit.moments import Moments, covariance
from convsmith.rewrite.lightening.forms import MULTIPLIED, Form
from convsmith.rewrite.lightening.knapsack import Option, choose, least_cost
from convsmith.rewrite.lightening.target import Target
from convsmith.rewrite.surgery import replace

__all__ = ["Selection", "Selector"]

_ROUNDS = 8
_NEGLIGIBLE = 0.05
_CLOSE, _NEAR = 0.97, 1.02
"""A measured time between these shares of the budget is what was asked for: with what is left of
the noise, the speed-up is then within 5 %."""
_EDGE = 1e-6


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    Attributes:
        choices: by path; None keeps the convolution.
        predicted: what the network is to cost: milliseconds, or multiply-adds.
        original: what the original cost when that was said.
        refused: the forms that are slower here than the convolution, by path.
    """

    choices: dict[str, Choice | None]
    predicted: float | None = None
    original: float | None = None
    refused: dict[str, list[Choice]] = field(default_factory=dict)

    @property
    def rewritten(self) -> list[str]:
        """The paths of the convolutions that take another form."""
        return [path for path, choice in self.choices.items() if choice is not None]


class Selector:
    """Chooses for one network; measures once, for as many targets as are asked.

    Args:
        model: the network.
        network: the same, traced.
        image: the images that are timed together.
        replaceable: the convolutions that may change.
        forms: that they may take.
        clock: what times them.
        moments: what each convolution sees.
        weights: finds how much the output suffers from an error in each.
        progress: called as `progress(done, of)`.
    """

    def __init__(
        self,
        model: nn.Module,
        network: Network,
        image: Any,
        replaceable: Sequence[Candidate],
        forms: Sequence[Form],
        clock: Clock,
        moments: Mapping[str, Moments],
        weights: Callable[[], Mapping[str, float]],
        progress: Callable[[int, int], None],
    ) -> None:
        self.model, self.network, self.image = model, network, image
        self.replaceable = list(replaceable)
        self.forms, self.clock, self.moments, self.weights = forms, clock, moments, weights
        self._progress = progress
        self._options: list[list[Option]] | None = None
        self.refused: dict[str, list[Choice]] = {}

    def choose(self, target: Target) -> Selection:
        """The choices for a target.

        Raises:
            ArgumentError: for a target that cannot be met, with the best that can.
        """
        if target.name == "multiplier":
            return Selection(self._same_multiplier(int(target.value)))
        options = self._measured()
        if target.name == "macs":
            total, rest, options = self._by_macs(options)
            picks = self._pick(options, target, total, rest)
            return self._selection(picks, rest + sum(pick.cost for pick in picks), total)
        return self._by_time(options, target)

    def fastest(self) -> float:
        """The largest speed-up that the table of times promises."""
        options = self._measured()
        total, rest = self._whole(options)
        return total / (rest + least_cost(options))

    def _by_time(self, options: list[list[Option]], target: Target) -> Selection:
        """Choose, build, measure against the original; until the ratio is what was asked for.

        What a choice may cost by the table is first corrected by what the table does not cover;
        where that leads back to a choice that was too slow, or past one that was too quick, the
        middle between the two is taken.
        """
        total, rest = self._whole(options)
        least, best, outside = least_cost(options), float("inf"), 0.0
        met: Selection | None = None
        whole = sum(kept[0].cost for kept in options)
        slowest, bracket = 0.0, Bracket(least * (1 - _EDGE), whole * (1 + _EDGE))
        room: float | None = target.budget(total) - rest
        tried: list[tuple[list[Option], bool]] = []
        while room is not None and len(tried) < _ROUNDS:
            # Where the budget lies below the table's best, the best is what can be measured.
            room = max(room, least)
            picks, guess = choose(options, room * (1 + 1e-9)), float("nan")
            cost = sum(pick.cost for pick in picks)
            slow = next((found for known, found in tried if known == picks), None)
            if slow is None:
                total, ms = self._pair(picks)
                budget = target.budget(total)
                predicted = rest + cost
                rest = ms - cost  # below zero where layers are quicker together than alone
                best, outside = min((best, outside), (ms, max(0.0, rest) / ms))
                if ms <= budget * _NEAR and ms > slowest:
                    met, slowest = self._selection(picks, predicted, total), ms
                if _CLOSE * budget <= ms <= budget * _NEAR:
                    break
                slow, guess = ms > budget, max(least, min(budget - rest, whole))
                tried.append((picks, slow))
            if not slow and not guess > room * (1 + _EDGE):
                break  # within the budget nothing better is to be had
            bracket.learn(room, cost, slow=slow)
            room = bracket.next(guess)
        if met is not None:
            return met
        raise ArgumentError(
            f"{target.name}={target.value:g} cannot be met: {target.best(best, total)}"
            f"{self._why(options, outside, 'time')}"
        )

    def _pair(self, picks: Sequence[Option]) -> tuple[float, float]:
        """Milliseconds of the original and of a choice, in turn."""
        names = {"original": self.model, "light": self._skeleton(picks)}
        chosen = tuple(
            (c.path, pick.choice and str(pick.choice))
            for c, pick in zip(self.replaceable, picks, strict=True)
        )
        times = self.clock.networks(names, self.image, (self._signature, chosen))
        return times["original"].low_ms, times["light"].low_ms

    @cached_property
    def _signature(self) -> str:
        """What of a network its time depends on: its operations and sizes, and not its weights."""
        shapes = [(layer.name, layer.operands, layer.results) for layer in self.network]
        text = f"{self.network.program.graph}{shapes}"
        return sha256(text.encode()).hexdigest()[:24]

    def _whole(self, options: list[list[Option]]) -> tuple[float, float]:
        """Milliseconds of the network, and those outside the convolutions that may change."""
        times = self.clock.networks({"original": self.model}, self.image, (self._signature,))
        total = times["original"].low_ms
        return total, max(0.0, total - sum(kept[0].cost for kept in options))

    def _by_macs(self, options: list[list[Option]]) -> tuple[float, float, list[list[Option]]]:
        total = float(inspect(self.network).macs)
        counted = [
            [Option(o.choice, float(c.macs(o.choice)), o.error) for o in layer]
            for c, layer in zip(self.replaceable, options, strict=True)
        ]
        return total, total - sum(layer[0].cost for layer in counted), counted

    def _pick(
        self, options: list[list[Option]], target: Target, total: float, rest: float
    ) -> list[Option]:
        budget, least = target.budget(total), rest + least_cost(options)
        if least > budget:
            raise ArgumentError(
                f"{target.name}={target.value:g} cannot be met: {target.best(least, total)}"
                f"{self._why(options, rest / total, 'multiply-adds')}"
            )
        return choose(options, budget - rest)

    def _selection(self, picks: Sequence[Option], predicted: float, original: float) -> Selection:
        chosen = {c.path: pick.choice for c, pick in zip(self.replaceable, picks, strict=True)}
        return Selection(chosen, predicted, original, self.refused)

    def _same_multiplier(self, multiplier: int) -> dict[str, Choice | None]:
        form = Form(MULTIPLIED)
        if form not in self.forms:
            raise ArgumentError(f"multiplier needs the form {form.name!r}, which forms excludes")
        choice = Choice(form, multiplier)
        return {
            c.path: choice if multiplier in form.ranks(c.conv, c.size) else None
            for c in self.replaceable
        }

    def _measured(self) -> list[list[Option]]:
        """Each convolution as it is, then every form that is quicker here: cost and loss."""
        if self._options is None:
            every = [(c, c.choices(self.forms)) for c in self.replaceable]
            weights = self.weights()
            steps, done = sum(1 + len(choices) for _, choices in every), 0
            self._options = []
            for c, choices in every:
                costs: dict[Choice | None, float] = {None: self._ms(c, None)}
                for choice in choices:
                    costs[choice] = self._ms(c, choice)
                    done += 1
                    self._progress(done, steps)
                done += 1
                quicker = [choice for choice in choices if costs[choice] < costs[None]]
                if slower := [choice for choice in choices if choice not in quicker]:
                    self.refused[c.path] = slower
                lost = self._lost(c, quicker)
                self._options.append(
                    [Option(None, costs[None], 0.0)]
                    + [Option(o, costs[o], weights[c.path] * lost[o]) for o in quicker]
                )
            self._progress(steps, steps)
        return self._options

    def _lost(self, c: Candidate, choices: Sequence[Choice]) -> dict[Choice, float]:
        """The share of its response that each choice loses."""
        patch_covariance, lost = covariance(self.moments, c.path), dict[Choice, float]()
        for form in self.forms:
            ranks = [choice.rank for choice in choices if choice.form == form]
            errors = form.error(c.conv, ranks, patch_covariance) if ranks else []
            lost |= {Choice(form, r): e for r, e in zip(ranks, errors, strict=True)}
        return lost

    def _ms(self, c: Candidate, choice: Choice | None) -> float:
        def make() -> nn.Module:
            return copied(c.conv) if choice is None else choice.form.unfitted(c.conv, choice.rank)

        like = c.conv.weight
        form = "as it is" if choice is None else str(choice)
        name = (repr(c.spec), form, str(like.dtype), str(like.device))
        return self.clock.layer(name, make, (len(self.image), c.spec.in_channels, *c.size))

    def _skeleton(self, picks: Sequence[Option]) -> nn.Module:
        """The network in its new forms, for its time: weights do not change it."""
        light = copied(self.model)
        with torch.no_grad():
            for c, pick in zip(self.replaceable, picks, strict=True):
                if pick.choice is not None:
                    replace(light, c.path, pick.choice.form.unfitted(c.conv, pick.choice.rank))
        return light

    def _why(self, options: Sequence[Sequence[Option]], outside: float, what: str) -> str:
        """Why nothing better can be had: what cannot change, and what is slower if it does."""
        reasons = []
        if outside >= _NEGLIGIBLE:
            reasons.append(
                f"{outside:.0%} of its {what} lies outside the convolutions that may change"
            )
        layers = list(zip(self.replaceable, options, strict=True))
        stuck = sum(len(left) == 1 and c.path in self.refused for c, left in layers)
        if stuck:
            reasons.append(
                f"every lighter form of {stuck} of {len(layers)} convolutions is slower here"
            )
        return ", as " + " and ".join(reasons) if reasons else ""
