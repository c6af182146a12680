"""Which form each convolution takes: the least loss that fits the budget, by measured time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from convsmith.rewrite.lightening.forms import MULTIPLIED, Form
from convsmith.rewrite.lightening.knapsack import Option, choose, least_cost
from convsmith.rewrite.lightening.target import Target
from convsmith.rewrite.lightening.trials import ByChoice
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
        losses: finds how much the output loses by the forms of each, given what they cost; those
            that it leaves out are not worth having.
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
        losses: Callable[[Sequence[tuple[Candidate, ByChoice]]], Sequence[ByChoice]],
        progress: Callable[[int, int], None],
    ) -> None:
        self.model, self.network, self.image = model, network, image
        self.replaceable = list(replaceable)
        self.forms, self.clock, self.losses = forms, clock, losses
        self._progress = progress
        self._options: dict[bool, list[list[Option]]] = {}

    def choose(self, target: Target) -> Selection:
        """The choices for a target.

        Raises:
            ArgumentError: for a target that cannot be met, with the best that can.
        """
        if target.name == "multiplier":
            return Selection(self._same_multiplier(int(target.value)))
        if target.name == "macs":
            return self._by_macs(target)
        self._require_possible(target)
        return self._by_time(self._measured(), target)

    def fastest(self) -> float:
        """The largest speed-up that the table of times promises."""
        options = self._measured()
        total, rest = self._whole(options)
        return total / (rest + least_cost(options))

    def _require_possible(self, target: Target) -> None:
        """Refuse what the quickest network misses, before any form is tried for its loss."""
        options = self._priced()
        total, rest = self._whole(options)
        if rest + least_cost(options) <= target.budget(total) * _NEAR:
            return
        picks = [min(each, key=lambda option: option.cost) for each in options]
        total, ms = self._pair(picks)
        if ms > target.budget(total) * _NEAR:
            outside = max(0.0, ms - least_cost(options)) / ms
            raise self._impossible(target, ms, total, self._why(options, outside, "time"))

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
        raise self._impossible(target, best, total, self._why(options, outside, "time"))

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

    def _by_macs(self, target: Target) -> Selection:
        options = self._priced(counted=True)
        total = float(inspect(self.network).macs)
        rest = total - sum(kept[0].cost for kept in options)
        budget, least = target.budget(total), rest + least_cost(options)
        if least > budget:
            why = self._why(options, rest / total, "multiply-adds")
            raise self._impossible(target, least, total, why)
        picks = choose(self._measured(counted=True), budget - rest)
        return self._selection(picks, rest + sum(pick.cost for pick in picks), total)

    def _selection(self, picks: Sequence[Option], predicted: float, original: float) -> Selection:
        chosen = {c.path: pick.choice for c, pick in zip(self.replaceable, picks, strict=True)}
        return Selection(chosen, predicted, original, self._refused)

    def _same_multiplier(self, multiplier: int) -> dict[str, Choice | None]:
        form = Form(MULTIPLIED)
        if form not in self.forms:
            raise ArgumentError(f"multiplier needs the form {form.name!r}, which forms excludes")
        choice = Choice(form, multiplier)
        return {
            c.path: choice if multiplier in form.ranks(c.conv, c.size) else None
            for c in self.replaceable
        }

    def _measured(self, *, counted: bool = False) -> list[list[Option]]:
        """Each convolution as it is, then its forms that are quicker here: cost and loss."""
        if counted not in self._options:
            priced = self._priced(counted=counted)
            offered = [{o.choice: o.cost for o in forms if o.choice} for _, *forms in priced]
            losses = self.losses(list(zip(self.replaceable, offered, strict=True)))
            self._options[counted] = [
                [kept, *(Option(o, costs[o], lost) for o, lost in found.items())]
                for (kept, *_), costs, found in zip(priced, offered, losses, strict=True)
            ]
        return self._options[counted]

    def _priced(self, *, counted: bool = False) -> list[list[Option]]:
        """The same before anything is known of the losses.

        Costs are milliseconds or, if `counted`, multiply-adds.
        """

        def options(c: Candidate, costs: dict[Choice | None, float]) -> list[Option]:
            return [Option(o, float(c.macs(o)) if counted else ms, 0.0) for o, ms in costs.items()]

        kept, offered = self._times
        every = [{None: own, **costs} for own, costs in zip(kept, offered, strict=True)]
        return [options(c, costs) for c, costs in zip(self.replaceable, every, strict=True)]

    @cached_property
    def _times(self) -> tuple[list[float], list[dict[Choice, float]]]:
        """Milliseconds of each convolution, and of its forms that are quicker here."""
        every = [c.choices(self.forms) for c in self.replaceable]
        steps, done = sum(1 + len(choices) for choices in every), 0
        kept, offered = list[float](), list[dict[Choice, float]]()
        for c, choices in zip(self.replaceable, every, strict=True):
            kept.append(self._ms(c, None))
            costs = dict[Choice, float]()
            for choice in choices:
                costs[choice] = self._ms(c, choice)
                done += 1
                self._progress(done, steps)
            done += 1
            offered.append({o: ms for o, ms in costs.items() if ms < kept[-1]})
        self._progress(steps, steps)
        return kept, offered

    @cached_property
    def _refused(self) -> dict[str, list[Choice]]:
        """The forms that are slower here than the convolution, by path."""
        _, offered = self._times
        slower = {
            c.path: [choice for choice in c.choices(self.forms) if choice not in costs]
            for c, costs in zip(self.replaceable, offered, strict=True)
        }
        return {path: found for path, found in slower.items() if found}

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

    @staticmethod
    def _impossible(target: Target, best: float, total: float, why: str) -> ArgumentError:
        """The error of a target that cannot be met, with the best that can."""
        best_told = target.best(best, total)
        return ArgumentError(f"{target.name}={target.value:g} cannot be met: {best_told}{why}")

    def _why(self, options: Sequence[Sequence[Option]], outside: float, what: str) -> str:
        """Why nothing better can be had: what cannot change, and what is slower if it does."""
        reasons = []
        if outside >= _NEGLIGIBLE:
            reasons.append(
                f"{outside:.0%} of its {what} lies outside the convolutions that may change"
            )
        layers = list(zip(self.replaceable, options, strict=True))
        stuck = sum(len(left) == 1 and c.path in self._refused for c, left in layers)
        if stuck:
            reasons.append(
                f"every lighter form of {stuck} of {len(layers)} convolutions is slower here"
            )
        return ", as " + " and ".join(reasons) if reasons else ""
