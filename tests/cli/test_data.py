"""What names images: digits, a user's loader, and what names nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from convsmith.cli.data import Images, load_images
from convsmith.errors import ArgumentError, DataError

HEAD = "import numpy as np, torch\nfrom torch.utils.data import DataLoader, TensorDataset\n"
IMAGES = "torch.arange(10 * 3 * 2 * 2).reshape(10, 3, 2, 2) / 120"
LABELS = "torch.arange(10) % 4"


def load(here: Path, result: str, **options: Any) -> Images:
    """Load what a loader returns that is written for it; each call has a file of its own."""
    path = here / f"mine{len(list(here.iterdir()))}.py"
    path.write_text(f"{HEAD}def loader():\n    return {result}\n")
    return load_images(f"{path.name}:loader", **options)


def test_digits_are_those_of_scikit_learn() -> None:
    found = load_images("digits")
    expected = load_digits()
    assert found.shape == (1797, 1, 8, 8) and found.classes == tuple("0123456789")
    assert isinstance(found.images, torch.Tensor) and found.images.dtype == torch.float32
    assert np.array_equal(found.images[:, 0].numpy() * 16, expected.images)
    assert found.labels is not None and np.array_equal(found.labels.numpy(), expected.target)
    assert repr(found) == "Images('digits', 1797×1×8×8, 10 classes)"
    with pytest.raises(DataError, match="digits has no test part"):
        load_images("digits", split="test")


@pytest.mark.parametrize(
    "result",
    [
        f"({IMAGES}, {LABELS})",
        f"[{IMAGES}, {LABELS}]",
        f"(({IMAGES}).numpy(), ({LABELS}).numpy().astype(np.uint8))",
        f"({IMAGES}, ({LABELS}).tolist())",
        f"DataLoader(TensorDataset({IMAGES}, {LABELS}), batch_size=4)",
        f"DataLoader(TensorDataset({IMAGES}, {LABELS}), batch_size=1)",
        f"TensorDataset({IMAGES}, {LABELS})",
        f"list(zip(({IMAGES}).split(3), ({LABELS}).split(3)))",
        f"((image, int(label)) for image, label in zip({IMAGES}, {LABELS}))",
        f"(batch for batch in DataLoader(TensorDataset({IMAGES}, {LABELS}), batch_size=3))",
    ],
)
def test_whatever_a_loader_returns_is_one_tensor_with_labels(here: Path, result: str) -> None:
    found = load(here, result)
    assert isinstance(found.images, torch.Tensor)
    assert torch.equal(found.images, torch.arange(120.0).reshape(10, 3, 2, 2) / 120)
    assert found.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert found.labels.dtype == torch.int64 and found.classes == ("0", "1", "2", "3")
    assert found.splits == () and found.split is None


@pytest.mark.parametrize(
    "result",
    [
        IMAGES,
        f"({IMAGES}).double().numpy()",
        f"[{IMAGES}]",
        f"list(({IMAGES}).split(5))",  # two batches are no pair
        f"({IMAGES}).split(5)",
        f"DataLoader(TensorDataset({IMAGES}), batch_size=4)",
        f"iter({IMAGES})",
    ],
)
def test_images_alone(here: Path, result: str) -> None:
    found = load(here, result)
    assert torch.equal(found.images, torch.arange(120.0).reshape(10, 3, 2, 2) / 120)
    assert found.labels is None and found.classes == ()


def test_bytes_are_scaled_and_floats_stay_as_they_are(here: Path) -> None:
    assert load(here, "torch.full((2, 1, 3, 3), 51, dtype=torch.uint8)").images.unique() == 0.2
    assert load(here, "torch.full((2, 1, 3, 3), -2.5)", size=5).images.unique() == -2.5


def test_a_limit_stops_a_loader_without_end(here: Path) -> None:
    (here / "endless.py").write_text(
        "import torch\n"
        "def loader():\n"
        "    i = 0\n"
        "    while True:\n"
        "        yield torch.full((3, 1, 2, 2), float(i)), torch.tensor([i, i, i])\n"
        "        i += 1\n"
    )
    found = load_images("endless.py:loader", limit=7)
    assert found.labels is not None and found.labels.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert len(found) == 7


def test_a_limit_is_spread_over_what_is_there_as_a_whole(here: Path) -> None:
    assert load(here, f"({IMAGES}, {LABELS})", limit=3).labels.tolist() == [0, 3, 2]


def test_a_loader_that_knows_splits(here: Path) -> None:
    (here / "parts.py").write_text(
        "import torch\n"
        "def loader(split):\n"
        "    return torch.full((2, 1, 2, 2), {'train': 1.0, 'test': 2.0}[split])\n"
    )
    for split, value in ((None, 1), ("train", 1), ("test", 2)):
        found = load_images("parts.py:loader", split=split)
        assert found.images[0, 0, 0, 0] == value
        assert found.split == (split or "train") and found.splits == ("train", "test")


def test_a_loader_that_does_not_has_no_test_images(here: Path) -> None:
    with pytest.raises(DataError, match="has no test part"):
        load(here, IMAGES, split="test")


def test_an_object_that_is_no_function(here: Path) -> None:
    (here / "ready.py").write_text(f"{HEAD}data = {IMAGES}")
    assert load_images("ready:data").shape == (10, 3, 2, 2)


def test_colours_become_grey_as_in_pillow(here: Path) -> None:
    grey = load(here, IMAGES, channels=1).images
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    expected = (torch.arange(120.0).reshape(10, 3, 2, 2) / 120 * weights).sum(1, keepdim=True)
    assert torch.allclose(grey, expected)
    assert load(here, "torch.zeros(2, 1, 3, 3)", channels=3).shape == (2, 3, 3, 3)
    with pytest.raises(DataError, match="images of 4 channels, which cannot become 3"):
        load(here, "torch.zeros(2, 4, 3, 3)", channels=3)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("3", "gave a int, expected a tensor, a pair of images and labels, or an iterable"),
        ("None", "gave a NoneType, expected"),
        ("'folder'", "gave a str, expected"),
        ("{'image': 1}", "gave a dict, expected"),
        ("[]", "gave no images"),
        ("['a.png']", "gave a str as images, expected a tensor"),
        ("torch.zeros(3, 4)", "gave images of shape 3×4, expected N × C × H × W"),
        ("torch.zeros(0, 1, 3, 3)", "gave images of shape 0×1×3×3"),
        (
            "torch.zeros(1, 1, 3, 3, dtype=torch.int64)",
            "gave images of torch.int64, expected uint8",
        ),
        ("torch.full((1, 1, 3, 3), float('nan'))", "some pixels are not finite"),
        ("(torch.zeros(2, 1, 3, 3), torch.zeros(3).long())", "labels of shape 3 for 2 images"),
        ("(torch.zeros(2, 1, 3, 3), torch.zeros(2))", "labels of torch.float32, expected integers"),
        ("(torch.zeros(1, 1, 3, 3), torch.tensor([-1]))", "gave the label -1, expected 0 or more"),
        (
            "(torch.zeros(1, 1, 3, 3), torch.tensor([10**9]))",
            "label 1000000000, expected a class numb",
        ),
        ("[torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 2, 3)]", "different shapes: 1×2×3 and 1×3×3"),
        (
            "[(torch.zeros(1, 1, 3, 3), torch.tensor([1])), torch.zeros(1, 1, 3, 3)]",
            "gave labels for some of its batches only",
        ),
        ("1 / 0", r"mine0\.py:loader failed at mine0\.py:4: ZeroDivisionError: division by zero"),
        ("(1 / n for n in (0,))", r"mine0\.py:loader failed at mine0\.py:4: ZeroDivisionError"),
    ],
)
def test_results_that_are_no_images(here: Path, result: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(here, result)
    assert "mine0.py:loader" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("digts", DataError, "no images found at 'digts'; did you mean 'digits'"),
        ("photo", DataError, "no images found at 'photo'; did you mean 'photos'"),
        ("zzz", DataError, "no images found at 'zzz': expected a folder of images, "),
        ("no/where", DataError, "no images found at 'no/where'"),
        ("mine.npz", DataError, r"mine\.npz is neither a folder of images nor IDX"),
        ("mine.py", ArgumentError, "names a file but no function: write mine.py:read_images$"),
        ("none.py:loader", DataError, r"no file 'none\.py'"),
    ],
)
def test_what_names_no_images(here: Path, spec: str, error: type[Exception], message: str) -> None:
    (here / "photos").mkdir()
    code = "import torch\nclass Net(torch.nn.Module): ...\ndef build(): ...\n"
    (here / "mine.py").write_text(f"{code}def read_images(): ...\n")
    np.savez(here / "mine.npz", images=np.zeros(3))
    with pytest.raises(error, match=message):
        load_images(spec)


def test_the_users_random_numbers_go_on_as_before(here: Path) -> None:
    before = torch.get_rng_state()
    load_images("digits", limit=10, size=4)
    assert torch.equal(torch.get_rng_state(), before)
