"""`convsmith demo`: the main job on real images, from nothing to a lighter network, in a minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from convsmith.arithmetic.normalise import MOST_SEEDS
from convsmith.cli.bounds import within
from convsmith.cli.holdout import Batches, accuracy, train_and_test
from convsmith.cli.output import Force, as_json, check_targets, console, emit, steps, talk, write
from convsmith.errors import ArgumentError
from convsmith.measure import inspect
from convsmith.report.saving import check_folder
from convsmith.rewrite import Run, lighten
from convsmith.runtime.precision import lacks_bf16

__all__ = ["command"]

EPOCHS, FINE_TUNING = 12, 4


class Block(nn.Module):
    """Two convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, m: int, n: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(m, n, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n)
        self.conv2 = nn.Conv2d(n, n, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n)
        same = m == n and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(m, n, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, m, H, W) to (N, n, H / stride, W / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class DigitsNet(nn.Module):
    """A residual network for 8×8 digits: 0.37 million parameters, nine convolutions of 3×3."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 24, 3, 1, 1, bias=False), nn.BatchNorm2d(24))
        self.blocks = nn.Sequential(
            Block(24, 48, 1), Block(48, 48, 1), Block(48, 96, 2), Block(96, 96, 1)
        )
        self.head = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 8, 8) to logits (N, 10)."""
        logits: Tensor = self.head(self.blocks(F.relu(self.stem(x))).mean((2, 3)))
        return logits


class Shifted(Batches):
    """Batches whose images are moved by up to one pixel each way, as handwriting is."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for images, labels in super().__iter__():
            rows, columns = torch.randint(-1, 2, (2, len(images))).tolist()
            padded = F.pad(images, (1, 1, 1, 1))
            moved = [
                image[:, 1 + r : image.shape[1] - 1 + r, 1 + c : image.shape[2] - 1 + c]
                for image, r, c in zip(padded, rows, columns, strict=True)
            ]
            yield torch.stack(moved), labels


def command(
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the report.")
    ] = "demo",
    seed: Annotated[
        int, typer.Option(help="Seed for the network, the split and the training.")
    ] = 0,
    phone: Annotated[
        bool,
        typer.Option(
            "--phone", help="Then run it as a phone (in QEMU) and a browser would, without Python."
        ),
    ] = False,
    force: Force = False,
) -> None:
    """Train, inspect, lighten and compare a small network on handwritten digits."""
    within("--seed", seed, 0, MOST_SEEDS)
    check_folder(output)
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"cannot make {output!r}: {error.strerror}") from error
    targets = str(folder / "result.json"), str(folder / "report.html")
    on_phone = str(folder / "phone.json")
    check_targets(*targets, *([on_phone] if phone else []), force=force)
    train, test = train_and_test("digits", share=0.3, seed=seed)
    assert test.labels is not None
    evaluate = accuracy(test.images, test.labels)
    talk(f"{len(train)} digits to learn from, {len(test)} held out")
    data = Shifted(train.images, train.labels)
    precision = "float32" if (why := lacks_bf16()) else "bf16"
    if why:
        talk(f"the lightened network is not shown in bf16: {why}")
    with steps() as progress, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DigitsNet()
        _train(model, data, lambda done, of: progress("training", done, of))
        result = lighten(
            model.eval(),
            train.images,
            multiplier=1,
            train=data,
            epochs=FINE_TUNING,
            precision=precision,
            run=Run(evaluate=evaluate, seed=seed, progress=progress),
        )
    screen = console()
    screen.print(inspect(model, test.images[:1]).table(by="module", depth=2))
    screen.print()
    screen.print(result.report.layer_table())
    screen.print()
    screen.print(result.report.table())
    report = result.report
    emit(
        report,
        table=report.table(),
        page=report.to_html,
        json=targets[0],
        html=targets[1],
        force=True,
    )
    if phone:
        from convsmith.cli.phone import on_phones, phone_table

        talk("exporting for a phone and for browsers")
        rows = on_phones(result.model.eval(), test.images[:], test.labels, folder)
        screen.print()
        screen.print(phone_table(rows))
        write(on_phone, as_json({"report": "phone", "version": 1, "rows": rows}), force=True)


def _train(model: nn.Module, data: Batches, progress: Callable[[int, int], None]) -> None:
    """Train from nothing: SGD with momentum, one cycle of the learning rate."""
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    total = EPOCHS * len(data)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=total)
    model.train()
    done = 0
    for _ in range(EPOCHS):
        for images, labels in data:
            assert labels is not None
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            done += 1
            progress(done, total)
