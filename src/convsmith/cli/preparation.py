"""Images as a network wants them: less a mean, over a deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from convsmith.errors import ArgumentError

if TYPE_CHECKING:
    from convsmith.cli.data import Images

__all__ = ["PRESETS", "Preparation", "Prepared", "preparation"]


@dataclass(frozen=True)
class Preparation:
    """What is done to images between 0 and 1 before a network sees them.

    Attributes:
        mean: what is taken off, one per channel, or one for all.
        std: what the rest is divided by.
        size: pixels per side; None leaves them.
        channels: 1 or 3; None leaves them.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: int | None = None
    channels: int | None = None

    def of(self, images: Images) -> Images:
        """The same images, prepared when they are read."""
        if not self.mean and not self.std:
            return images
        count = images.shape[1]
        for name, values in (("--mean", self.mean), ("--std", self.std)):
            if len(values) not in (0, 1, count):
                raise ArgumentError(
                    f"{name} has {len(values)} numbers, and the images {count} channels"
                )
        prepared: Any = Prepared(images.images, self.mean or (0.0,), self.std or (1.0,))
        return replace(images, images=prepared)


PRESETS = {
    "imagenet": Preparation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, 3),
}


class Prepared:
    """Images that are normalised when they are taken; files on disk stay there."""

    def __init__(self, images: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self._images, self._mean, self._std = images, mean, std

    @property
    def shape(self) -> tuple[int, ...]:
        """N, C, H, W."""
        return tuple(self._images.shape)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, which: Any) -> Any:
        images = self._images[which]
        mean, std = (images.new_tensor(v).view(-1, 1, 1) for v in (self._mean, self._std))
        return (images - mean) / std


def preparation(
    mean: str | None, std: str | None, preset: str | None, size: int | None, channels: int | None
) -> Preparation:
    """What `--mean`, `--std`, `--preset`, `--size` and `--channels` ask for.

    >>> preparation("0.5", "0.5,0.5,0.5", None, 32, None)
    Preparation(mean=(0.5,), std=(0.5, 0.5, 0.5), size=32, channels=None)
    >>> preparation(None, None, "imagenet", None, None).size
    224
    """
    if preset is not None and preset not in PRESETS:
        raise ArgumentError(f"--preset must be {' or '.join(PRESETS)}, not {preset!r}")
    base = Preparation() if preset is None else PRESETS[preset]
    return Preparation(
        base.mean if mean is None else _numbers("--mean", mean),
        base.std if std is None else _numbers("--std", std),
        size or base.size,
        channels or base.channels,
    )


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ArgumentError(
            f"{name} {text!r}: expected numbers such as 0.5 or 0.485,0.456,0.406"
        ) from None
    if name == "--std" and not all(value > 0 for value in values):
        raise ArgumentError(f"--std must be positive, not {text}")
    return values
