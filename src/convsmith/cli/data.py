"""Images named on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from convsmith.arithmetic.normalise import choice
from convsmith.cli import usercode
from convsmith.cli.idx import IdxPair, is_idx, pair_of, pairs_in, read_idx
from convsmith.cli.loaders import read_loader, spread
from convsmith.cli.pictures import (
    ImageFiles,
    check_size,
    class_folders,
    image_files,
    read_images,
    resize,
)
from convsmith.errors import ArgumentError, DataError, MissingExtra, nearest
from convsmith.text import times

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Images", "load_images"]

Split = Literal["train", "test"]

FORMS = "a folder of images, a folder or file of IDX, file.py:loader, module:loader or digits"
_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "test": "test", "val": "test", "valid": "test", "validation": "test",
}  # fmt: skip
# ITU-R BT.601, as Pillow converts colours to grey.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, eq=False)
class Images:
    """Images and, where they are known, their classes.

    Attributes:
        images: float32, N × C × H × W, between 0 and 1 (a user's loader: as it returned them);
            a folder too large for memory is an `ImageFiles`, with the same shape and indexing.
        labels: N positions in `classes` (int64), or None.
        classes: the names of the classes; empty without labels.
        name: the spec that the images come from.
        split: the part that was read, where the source has parts.
        splits: the parts that the source has.
        skipped: the broken files that were left out.
    """

    images: Tensor | ImageFiles
    labels: Tensor | None
    classes: tuple[str, ...]
    name: str
    split: Split | None = None
    splits: tuple[Split, ...] = ()
    skipped: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, C, H, W."""
        number, channels, rows, columns = self.images.shape
        return number, channels, rows, columns

    def take(self, positions: Tensor) -> Images:
        """Return the images at some positions (a LongTensor); files on disk stay there."""
        images = self.images
        return replace(
            self,
            images=images.take(positions) if isinstance(images, ImageFiles) else images[positions],
            labels=None if self.labels is None else self.labels[positions],
        )

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"Images({self.name!r}, {times(self.shape)}{classes}{skipped})"


def load_images(
    spec: str,
    *,
    size: int | Sequence[int] | None = None,
    channels: int | None = None,
    limit: int | None = None,
    on_error: Literal["fail", "skip"] = "fail",
    split: Split | None = None,
) -> Images:
    """Read the images that a spec names.

    Args:
        spec: a folder of images (`.png`, `.jpg`, `.bmp`, `.webp`, `.tif`, `.pgm`, `.ppm`), with one
            folder per class or flat; a folder or file of IDX, gzipped or not; `file.py:loader` or
            `module:loader`, which returns a tensor, a pair of images and labels, or an iterable of
            either (a DataLoader, a Dataset); or `digits`.
        size: rows and columns, or one number for both, to resize to; the aspect is not kept.
        channels: 1 or 3; by default as in the source.
        limit: at most this many images, spread evenly over the source (a loader: its first).
        on_error: whether a broken image file is an error or is skipped and listed.
        split: `train` or `test`, where the source has both: folders of these names (`val` is a
            test), IDX files called `train-…` and `t10k-…`, a loader with a parameter `split`. By
            default the training part, or all where there are no parts.

    Raises:
        ArgumentError: for a spec of another form, or another argument that cannot be right.
        DataError: for images that are missing or broken, naming the file.
        MissingExtra: without Pillow for image files, or scikit-learn for digits.

    >>> load_images("digits", limit=100)
    Images('digits', 100×1×8×8, 10 classes)
    """
    rows_columns = check_size(size)
    if channels not in (None, 1, 3):
        raise ArgumentError(f"channels must be 1 or 3, not {channels!r}")
    if limit is not None and limit < 1:
        raise ArgumentError(f"limit must be at least 1, not {limit!r}")
    choice("on_error", on_error, ("fail", "skip"))
    if split is not None:
        choice("split", split, ("train", "test"))
    path = Path(spec)
    splits: tuple[Split, ...] = ()
    if path.is_dir():
        # Where torchvision downloads to, the files are in MNIST/raw.
        inside = (path, path / "raw", path / "MNIST" / "raw")
        files = [p for folder in inside if folder.is_dir() for p in folder.iterdir()]
        if pairs := pairs_in(p for p in files if p.is_file()):
            splits = _known(pairs)
            part, split = _choose(pairs, split, spec)
            found = _from_idx(part, limit)
        else:
            parts = _parts(path)
            splits = _known(parts)
            folder, split = _choose(parts, split, spec)
            return _from_folder(
                folder, spec, rows_columns, channels, limit, on_error == "skip", split, splits
            )
    elif path.is_file() and path.suffix != ".py":
        if not is_idx(path.name):
            raise DataError(
                f"{spec} is neither a folder of images nor IDX: such a file is called "
                "*-images-idx3-ubyte, with .gz or without"
            )
        _refuse_test(split, spec)
        found = _from_idx(pair_of(path), limit)
    elif spec == "digits":
        _refuse_test(split, spec)
        found = _digits(limit)
    elif usercode.names_code(spec):
        images, labels, knows_splits = read_loader(spec, limit, split)
        found = images, labels, () if labels is None else _numbered(labels)
        if knows_splits:
            splits, split = ("train", "test"), split or "train"
        else:
            _refuse_test(split, spec)
    else:
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, ["digits", *siblings])
        raise DataError(f"no images found at {spec!r}{hint or f': expected {FORMS}'}")
    images, labels, classes = found
    images = _with_channels(images, channels, spec)
    if rows_columns is not None:
        images = resize(images, rows_columns)
    return Images(images, labels, classes, spec, split if splits else None, splits)


Found = tuple["Tensor", "Tensor | None", tuple[str, ...]]


def _from_folder(
    folder: Path,
    spec: str,
    size: tuple[int, int] | None,
    channels: int | None,
    limit: int | None,
    skip: bool,
    split: Split | None,
    splits: tuple[Split, ...],
) -> Images:
    import torch

    loose, folders = image_files(folder), class_folders(folder)
    by_class = [(image_files(inner), inner) for inner in folders]
    if loose and any(files for files, _ in by_class):
        raise DataError(f"{folder} has images both beside and in its folders: {loose[0].name}")
    if not loose and not any(files for files, _ in by_class):
        raise DataError(f"{folder} holds no images")
    classes: tuple[str, ...] = ()
    files, numbers = loose, [0] * len(loose)
    if not loose:
        empty = next((inner for files, inner in by_class if not files), None)
        if empty is not None:
            raise DataError(f"the folder of class {empty.name!r} holds no images: {empty}")
        classes = tuple(inner.name for inner in folders)
        files = [file for files, _ in by_class for file in files]
        numbers = [number for number, (files, _) in enumerate(by_class) for _ in files]
    chosen = spread(len(files), limit)
    files, numbers = [files[i] for i in chosen], [numbers[i] for i in chosen]
    images, kept, skipped = read_images(files, size=size, channels=channels, skip=skip)
    labels = torch.tensor([numbers[i] for i in kept]) if classes else None
    return Images(images, labels, classes, spec, split, splits, tuple(skipped))


def _parts(folder: Path) -> dict[str, Path]:
    """Find the folders of training and test images; a folder without both is one part."""
    named: dict[str, Path] = {}
    for inner in class_folders(folder):
        # In the order of the names that are known: 'test' wins over 'val'.
        part = _SPLIT_NAMES.get(inner.name.lower())
        if part and (part not in named or inner.name.lower() == part):
            named[part] = inner
    return named if len(named) == 2 else {"": folder}


def _choose(parts: dict[str, Any], split: Split | None, spec: str) -> tuple[Any, Split | None]:
    for part in (split,) if split else ("train", "", "test"):
        if part in parts:
            return parts[part], part or None
    if split == "train" and "" in parts:
        return parts[""], None
    raise DataError(f"{spec} has no {split} part: expected folders or files of that name")


def _refuse_test(split: Split | None, spec: str) -> None:
    if split == "test":
        raise DataError(f"{spec} has no test part")


def _known(parts: Iterable[str]) -> tuple[Split, ...]:
    return tuple(name for name in ("train", "test") if name in parts)


def _from_idx(pair: IdxPair, limit: int | None) -> Found:
    import torch

    values = read_idx(pair.images, 3)
    labels = None if pair.labels is None else read_idx(pair.labels, 1)
    if labels is not None and len(labels) != len(values):
        raise DataError(f"{pair.labels} has {len(labels)} labels for {len(values)} images")
    chosen = torch.tensor(spread(len(values), limit))
    images = values[chosen][:, None].float().div_(255)
    if labels is None:
        return images, None, ()
    return images, labels[chosen].long(), _numbered(labels)


def _digits(limit: int | None) -> Found:
    import torch

    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra("'digits'", extra="data", package="scikit-learn") from error
    values, numbers = load_digits(return_X_y=True)
    chosen = torch.tensor(spread(len(values), limit))
    # scikit-learn counts the dark ones of 4 × 4 dots: 0 to 16.
    images = torch.as_tensor(values, dtype=torch.float32).reshape(-1, 1, 8, 8).div_(16)
    return images[chosen], torch.as_tensor(numbers).long()[chosen], tuple("0123456789")


def _numbered(labels: Tensor) -> tuple[str, ...]:
    return tuple(str(number) for number in range(int(labels.max()) + 1))


def _with_channels(images: Tensor, channels: int | None, spec: str) -> Tensor:
    has = images.shape[1]
    if channels is None or channels == has:
        return images
    if has == 1:
        return images.repeat(1, channels, 1, 1)
    if has == 3:
        return (images * images.new_tensor(_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    raise DataError(f"{spec} has images of {has} channels, which cannot become {channels}")
