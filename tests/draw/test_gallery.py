"""The gallery: every picture that there should be, twice the same, with its right numbers."""

from __future__ import annotations

import re

import pytest
import torch
from torch.nn import functional as F

from convsmith.draw.catalogue import catalogue
from convsmith.draw.example import SECTIONS
from convsmith.draw.gallery import gallery
from convsmith.draw.words import LANGUAGES
from convsmith.errors import ArgumentError
from tests.draw.markup import parse

PICTURES = catalogue().examples
GUIDE = {
    "no_padding_no_strides": (4, 3, 1, 0),
    "arbitrary_padding_no_strides": (5, 4, 1, 2),
    "same_padding_no_strides": (5, 3, 1, 1),
    "full_padding_no_strides": (5, 3, 1, 2),
    "no_padding_strides": (5, 3, 2, 0),
    "padding_strides": (5, 3, 2, 1),
    "padding_strides_odd": (6, 3, 2, 1),
}
BY_NAME = {entry.name: entry for entry in reversed(PICTURES)}


def plane(scene, name):
    """What a panel shows at the end, as a tensor; nothing that padding cuts off."""
    panel = scene.panel(name)
    values = scene.values(name)
    gaps = [cell.at for cell in panel.cells if cell.role == "gap" and values[cell.at] is None]
    size = panel.size
    taps = (
        sorted({at[0] for at in values if at not in gaps}),
        sorted({at[1] for at in values if at not in gaps}),
    )
    assert size >= (len(taps[0]), len(taps[1]))
    return torch.tensor([[float(values[r, c]) for c in taps[1]] for r in taps[0]])[None, None]


def test_there_are_enough_pictures_in_both_languages():
    assert len(PICTURES) >= 60 and len({entry.file for entry in PICTURES}) == len(PICTURES)
    assert {entry.section for entry in PICTURES} == set(SECTIONS)
    guide = [entry for entry in PICTURES if entry.section == "arithmetic"]
    assert len(guide) == 19
    for entry in PICTURES:
        assert re.fullmatch(r"[a-z0-9_]+", entry.name)
        assert entry.english.isascii() or set(entry.english) - set(map(chr, range(128))) <= {"×"}
        assert re.search(r"[\u4e00-\u9fff]", entry.chinese)


@pytest.mark.parametrize("name", GUIDE)
def test_the_nineteen_have_the_numbers_of_torch(name):
    size, kernel, stride, padding = GUIDE[name]
    scene = BY_NAME[name].make()
    padded, weight = plane(scene, "input0"), plane(scene, "kernel0.0")
    assert padded.shape[-1] == size + 2 * padding and weight.shape[-1] == kernel
    wanted = F.conv2d(padded, weight, stride=stride)
    assert torch.equal(plane(scene, "output0"), wanted)

    back = BY_NAME[f"{name}_transposed"].make()
    spread, turned = plane(back, "input0"), plane(back, "kernel0.0")
    around = kernel - 1 - padding
    inner = spread[..., around : around + stride * (wanted.shape[-1] - 1) + 1 : stride,
                   around : around + stride * (wanted.shape[-1] - 1) + 1 : stride]  # fmt: skip
    extra = (size + 2 * padding - kernel) % stride
    restored = F.conv_transpose2d(
        inner, turned.flip(2, 3), stride=stride, padding=padding, output_padding=extra
    )
    assert restored.shape[-1] == size
    assert torch.equal(plane(back, "output0"), restored)


def test_the_numbers_of_the_guide_itself():
    expected = {
        "numerical_no_padding_no_strides": [[12, 12, 17], [10, 17, 19], [9, 6, 14]],
        "numerical_padding_strides": [[6, 17, 3], [8, 17, 13], [6, 4, 4]],
        "numerical_max_pooling": [[3, 3, 3], [3, 3, 3], [3, 2, 3]],
        "numerical_average_pooling": [[1.7, 1.7, 1.7], [1.0, 1.2, 1.8], [1.1, 0.8, 1.3]],
    }
    for name, rows in expected.items():
        values = BY_NAME[name].make().values("output0")
        assert {at: round(v, 1) for at, v in values.items()} == {
            (r, c): rows[r][c] for r in range(3) for c in range(3)
        }
    dilated = BY_NAME["dilation"].make()
    wanted = F.conv2d(plane(dilated, "input0"), plane(dilated, "kernel0.0"), dilation=2)
    assert torch.equal(plane(dilated, "output0"), wanted)


def test_the_lesson_by_hand_and_its_stamp():
    hand = BY_NAME["by_hand"].make().values("output0")
    assert [[hand[r, c] for c in range(4)] for r in range(4)] == [
        [16, 11, 16, 15], [25, 20, 10, 13], [9, 9, 10, 12], [1, 0, 2, 4]
    ]  # fmt: skip
    stamp = BY_NAME["stamps"].make().values("stamp0", 0)
    assert [stamp[0, c] for c in range(3)] == [55, 110, 55]
    assert BY_NAME["transposed_matrix"].make().panel("matrix").size == (16, 4)
    assert BY_NAME["separable"].make().panel("output3").size == (3, 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    return {language: gallery(folder / language, language=language) for language in LANGUAGES}


@pytest.mark.slow
def test_every_file_is_made_and_shown(made):
    for language, paths in made.items():
        page = parse(paths[-1].read_text("utf-8"))
        shown = [image.attributes["src"] for image in page.find("img")]
        assert sorted(shown) == sorted(entry.file for entry in PICTURES)
        assert {path.name for path in paths} == {*shown, "index.html"}
        assert {path.name for path in paths[0].parent.iterdir()} == {*shown, "index.html"}
        for caption in page.find("figcaption"):
            said = {span.attributes["lang"]: span.text for span in caption.find("span")}
            assert set(said) == {"en", "zh-Hans"} and all(said.values())
        (html,) = page.find("html")
        assert html.attributes["lang"] == ("en" if language == "en" else "zh-Hans")
        # Nothing is fetched from elsewhere.
        assert "http" not in paths[-1].read_text("utf-8")
    assert "卷积" in made["zh"][0].read_text("utf-8")


def test_the_same_bytes_again(made, tmp_path):
    again = gallery(tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in made["en"]]


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="is not empty; pass force=True"):
        gallery(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(ArgumentError, match="is a file, and the gallery is a folder"):
        gallery(tmp_path / "mine.txt")
    for option in ("language", "theme"):
        with pytest.raises(ArgumentError, match=f"{option} must be one of"):
            gallery(tmp_path / "new", **{option: "none"})
    assert not (tmp_path / "new").exists()
