"""The attempts at lightening one network, and everything that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.errors import ConvsmithError, ModelError, TraceError, first_line
from convsmith.network import Network, untouched
from convsmith.network.modules import copied
from convsmith.rewrite.lightening.candidates import Candidate, Choice
from convsmith.rewrite.lightening.fidelity import Fidelity
from convsmith.rewrite.lightening.fit.moments import Moments
from convsmith.rewrite.lightening.fit.reconstruct import Reconstruction, reconstruct
from convsmith.rewrite.lightening.fit.rewrite import decomposed, rewrite
from convsmith.rewrite.lightening.forms import forms_named
from convsmith.rewrite.lightening.report import Step
from convsmith.rewrite.lightening.selector import Selection, Selector
from convsmith.rewrite.lightening.settings import Progress
from convsmith.rewrite.lightening.target import Target
from convsmith.rewrite.lightening.tune.batches import number_of
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint
from convsmith.rewrite.lightening.tune.distil import Diverged, Fleet, by_first, distil, not_finite
from convsmith.rewrite.lightening.tune.log import OnEpoch
from convsmith.rewrite.lightening.tune.schedule import Schedule
from convsmith.rewrite.lightening.tune.teacher import Loss

__all__ = ["Attempt", "Attempts", "Training", "seeded"]

_CHOICES, _BLOCKS = "choices.json", "reconstructing.pt"


@dataclass(frozen=True)
class Training:
    """How a rewritten network is fine-tuned, and its control.

    Attributes:
        data: batches, or the user's own loop: called with the network and the original.
        schedule: for the network that starts from the original's weights.
        control: for the one that starts from random weights; None for no control.
        loss: a function of outputs and labels.
        fabric: processes that share the work.
        ended: called after each epoch.
    """

    data: Iterable[Any] | Callable[[nn.Module, nn.Module], None]
    schedule: Schedule
    control: Schedule | None = None
    loss: Loss | None = None
    fabric: Fleet | None = None
    ended: Sequence[OnEpoch] = ()


@dataclass(frozen=True)
class Attempt:
    """A network rewritten, and trained where that was asked for.

    Attributes:
        model: the new network.
        selection: the forms that were chosen.
        errors: by path, the share of its response's variance that each lost before training.
        steps: how near to the original it was after each step.
        losses: the mean loss of each epoch of fine-tuning.
        stopped: why reconstruction or fine-tuning ended early, or ''.
    """

    model: nn.Module
    selection: Selection
    errors: dict[str, float]
    steps: tuple[Step, ...]
    losses: tuple[float, ...] = ()
    stopped: str = ""

    @property
    def fidelity(self) -> Step:
        """How near to the original it is in the end."""
        return self.steps[-1]


@dataclass
class Attempts:
    """A network with what is known of it, from which attempts are made.

    Attributes:
        reconstruction: about how many seconds blocks are reconstructed for; None if they are not.
    """

    model: nn.Module
    network: Network
    batches: Sequence[Tensor]
    replaceable: Sequence[Candidate]
    moments: Mapping[str, Moments]
    selector: Selector
    fidelity: Fidelity
    training: Training | None
    checkpoint: Checkpoint | None
    seed: int
    progress: Progress
    reconstruction: float | None = None

    def choose(self, target: Target) -> Selection:
        """The choices for a target: those of an interrupted run, or new ones."""
        return _as_selection(
            self.remembered(f"for {target!r}", lambda: _as_plain(self.selector.choose(target)))
        )

    def remembered(self, name: str, decide: Callable[[], Any]) -> Any:
        """Plain values that were measured: read from the checkpoint if it has them.

        If processes share the work, the first one measures and all do the same.
        """

        def first() -> Any:
            known = None if self.checkpoint is None else self.checkpoint.read(_CHOICES)
            known = {} if known is None else known
            if not isinstance(known, dict):
                raise ModelError(f"the checkpoint's {_CHOICES} cannot be read: expected an object")
            if name not in known:
                known[name] = decide()
                if self.checkpoint is not None:
                    self.checkpoint.write(_CHOICES, known)
            return known[name]

        return by_first(self.training.fabric if self.training is not None else None, first)

    def attempt(self, selection: Selection) -> Attempt:
        """Rewrite, and fine-tune where that was asked for."""
        choices, moments = selection.choices, self.moments
        steps = [
            self.fidelity.of("decomposed", decomposed(self.model, self.replaceable, choices)),
            self.fidelity.of(
                "whitened", decomposed(self.model, self.replaceable, choices, moments)
            ),
        ]
        light = copied(self.model)
        errors = rewrite(
            light, self.model, self.network, self.replaceable, choices, moments, self.batches,
            lambda done, of: self.progress("rewriting", done, of),
        )  # fmt: skip
        steps.append(self.fidelity.of("refitted", light))
        late = ""
        if self.reconstruction is not None:
            found = self._reconstruct(light, selection)
            late = found.stopped
            if found.steps:
                steps.append(self.fidelity.of("reconstructed", light))
        if self.training is None:
            return Attempt(light, selection, errors, tuple(steps), stopped=late)
        losses, stopped = self._train("fine-tuning", light, self.training.schedule, selection)
        steps.append(self.fidelity.of("fine-tuned", light))
        stopped = "; ".join(filter(None, (late, stopped)))
        return Attempt(light, selection, errors, tuple(steps), tuple(losses), stopped)

    def _reconstruct(self, light: nn.Module, selection: Selection) -> Reconstruction:
        """Fit the blocks of a lighter network, or say why they stay as they are."""
        assert self.reconstruction is not None
        fabric = self.training.fabric if self.training is not None else None
        leads = fabric is None or fabric.global_rank == 0
        keep, known = self._part(selection), None
        if keep is not None:
            known = by_first(fabric, partial(keep.load, _BLOCKS))

        def kept(weights: Mapping[str, Any]) -> None:
            if keep is not None and leads:
                keep.save(_BLOCKS, dict(weights))

        before = deepcopy(light.state_dict())
        try:
            found = reconstruct(
                light, self.model, self.batches, selection.rewritten,
                seconds=self.reconstruction, seed=self.seed,
                progress=partial(self.progress, "reconstructing"), known=known, keep=kept,
            )  # fmt: skip
        except (TraceError, RuntimeError, KeyError, ValueError, IndexError) as error:
            # A batch may be what a network cannot be traced for, or a result be written over that
            # gradients need. What was refitted is as good as ever.
            if isinstance(error, ConvsmithError) and not isinstance(error, TraceError):
                raise
            light.load_state_dict(before)
            found = Reconstruction(stopped=f"blocks were not reconstructed: {first_line(error)}")
        if fabric is not None:  # processes may round differently
            light.load_state_dict(fabric.broadcast(light.state_dict()))
        return found

    def _part(self, selection: Selection) -> Checkpoint | None:
        """The checkpoint of what becomes of these choices: others are another network."""
        if self.checkpoint is None:
            return None
        choices = repr(_as_plain(selection)["choices"])
        return self.checkpoint.part(sha256(choices.encode()).hexdigest()[:8])

    def control(self, selection: Selection) -> tuple[nn.Module | None, str]:
        """The same architecture from random weights, trained by as much; why it ended early."""
        if self.training is None or self.training.control is None:
            return None, ""
        control = decomposed(self.model, self.replaceable, selection.choices)
        with seeded(self.seed):
            for module in control.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
        _, stopped = self._train("control", control, self.training.control, selection)
        return control, stopped

    def _train(
        self, stage: str, student: nn.Module, schedule: Schedule, selection: Selection
    ) -> tuple[list[float], str]:
        """The losses, and why it ended early, or ''."""
        training = self.training
        assert training is not None
        if callable(training.data):
            with seeded(self.seed):
                return [], _by_user(training.data, student, self.model)
        batches = training.data
        number, done = number_of(batches), 0

        def advance() -> None:
            nonlocal done
            done += 1
            self.progress(stage, done, schedule.epochs * number if number else 0)

        paths, keep = selection.rewritten, self._part(selection)
        with seeded(self.seed):  # the same order of images for both
            try:
                losses = distil(
                    student, self.model, batches, schedule, loss=training.loss, paths=paths,
                    fabric=training.fabric, checkpoint=keep, stage=stage,
                    advance=advance, ended=training.ended,
                )  # fmt: skip
            except Diverged as error:
                return error.losses, str(error)
        return losses, ""


def _by_user(
    loop: Callable[[nn.Module, nn.Module], None], student: nn.Module, teacher: nn.Module
) -> str:
    """Leave training to the user's loop; weights that are not numbers are discarded."""
    before = deepcopy(student.state_dict())
    with untouched(teacher):
        loop(student, teacher)
    student.eval()
    broken = not_finite(student)
    if broken:
        student.load_state_dict(before)
        return (
            f"train left values in {broken} that are not numbers; the weights from before it stay"
        )
    return ""


def _as_plain(selection: Selection) -> dict[str, Any]:
    def plain(choice: Choice | None) -> Any:
        return choice and [choice.form.name, choice.rank]

    return {
        "choices": {path: plain(choice) for path, choice in selection.choices.items()},
        "predicted": selection.predicted,
        "original": selection.original,
        "refused": {path: list(map(plain, found)) for path, found in selection.refused.items()},
    }


def _as_selection(plain: dict[str, Any]) -> Selection:
    def choice(found: Any) -> Choice | None:
        if found is None:
            return None
        name, rank = found
        return Choice(forms_named([name])[0], tuple(rank) if isinstance(rank, list) else rank)

    try:
        refused = {path: [choice(c) for c in found] for path, found in plain["refused"].items()}
        choices = {path: choice(found) for path, found in plain["choices"].items()}
        return Selection(choices, plain["predicted"], plain["original"], refused)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the checkpoint's {_CHOICES} cannot be read: {error}") from error


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Start random numbers from a seed, and restore the user's own state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
