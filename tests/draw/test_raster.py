"""Images and videos of scenes: every step in them, the same bytes, and what is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops

import convsmith as cs
from convsmith.draw import animate, fonts
from convsmith.draw.catalogue import catalogue
from convsmith.draw.palette import COLOURS, STYLES
from convsmith.draw.picture import picture
from convsmith.draw.raster import frames, gif, image, png
from convsmith.draw.words import WORDS
from convsmith.errors import ArgumentError, ConvsmithError, MissingExtra
from tests.draw.test_scene import EVERY, scene_of


def opened(data):
    return Image.open(BytesIO(data))


def rgb(code):
    return tuple(int(code[i : i + 2], 16) for i in (1, 3, 5))


def difference(one, other):
    """The mean difference of two images, of 255."""
    gap = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    histogram = gap.convert("L").histogram()
    return sum(level * count for level, count in enumerate(histogram)) / sum(histogram)


@pytest.mark.parametrize("name", ["standard", "depthwise", "output_padding", "causal"])
def test_a_gif_shows_every_step(name):
    made = picture(scene_of(name), "en", "light")
    data = gif(made)
    film = opened(data)
    assert film.n_frames == made.steps and film.info["loop"] == 0
    for index, frame in enumerate(frames(made, 1.0)):
        film.seek(index)
        # A palette is coarser than the drawing, nothing more.
        assert difference(film, frame) < 1
        if index:
            assert difference(before, frame) > 0  # noqa: F821
        before = frame  # noqa: F841
    assert len(data) <= 300_000


@EVERY
def test_every_scene_is_drawn_whole(name):
    made = picture(scene_of(name), "en", "light")
    drawn = image(made, made.steps - 1, 1.0)
    assert abs(drawn.width - made.width) <= 2 and abs(drawn.height - made.height) <= 2
    # Nothing touches the rim: no word is cut off.
    paper = Image.new("RGB", drawn.size, rgb(COLOURS["paper"][0]))
    left, top, right, bottom = ImageChops.difference(drawn, paper).getbbox()
    assert left >= 4 and top >= 4
    assert right <= drawn.width - 4 and bottom <= drawn.height - 4


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_cells_have_the_colours_of_their_kind(theme):
    scene = scene_of("same")
    made = picture(scene, "en", theme)
    drawn = image(made, 0, 2.0)
    for shape in made.frame(0):
        style = STYLES[shape.style]
        if shape.kind == "rect" and shape.style in ("kernel", "output"):
            x, y, _, _ = shape.place
            # Beside the middle, where the number is.
            at = (round((x + 5) * 2), round((y + 5) * 2))
            if shape.place not in {s.place for s in made.frame(0) if s.style == "current"}:
                assert drawn.getpixel(at) == rgb(COLOURS[style.fill][theme == "dark"])


def test_the_same_bytes_every_time():
    scene = scene_of("standard", language="zh")
    for render in (gif, png):
        first, second = (render(picture(scene, "zh", "dark")) for _ in range(2))
        assert first == second
    assert gif(picture(scene, "zh")) != gif(picture(scene, "en"))


def test_saving(tmp_path):
    scene = scene_of("strided")
    still = opened(scene.save(tmp_path / "a.png").read_bytes())
    strip = opened(scene.save(tmp_path / "b.png", strip=True).read_bytes())
    assert still.format == strip.format == "PNG"
    assert strip.width * strip.height > 4 * still.width * still.height
    # The last step comes first.
    below_the_number = (0, 64, still.width, still.height)
    assert difference(strip.crop(below_the_number), still.crop(below_the_number)) == 0
    small = opened(scene.save(tmp_path / "c.png", scale=1).read_bytes())
    assert small.width == pytest.approx(still.width / 2, abs=2)
    with pytest.raises(ArgumentError, match=r"pixels cannot be drawn: change scale"):
        scene.save(tmp_path / "d.png", scale=1000)
    with pytest.raises(ArgumentError, match="exists"):
        scene.save(tmp_path / "c.png")
    assert not (tmp_path / "d.png").exists()


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    scene = scene_of("standard")
    for suffix in ("png", "gif"):
        with pytest.raises(MissingExtra, match=r"needs Pillow: pip install 'convsmith\[draw\]'"):
            scene.save(tmp_path / f"a.{suffix}")
    scene.save(tmp_path / "a.svg")
    scene.save(tmp_path / "a.html")


def test_without_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConvsmithError, match="needs ffmpeg: apt-get install ffmpeg"):
        scene_of("standard").save(tmp_path / "a.mp4")


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without fonts."""
    caches = [fonts._files, fonts._chinese, fonts._latin, fonts.font]
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(fonts, "_FOLDERS", (str(tmp_path),))
    yield tmp_path
    for cache in caches:
        cache.cache_clear()


def test_without_a_chinese_font(bare):
    scene = scene_of("standard")
    with pytest.raises(ConvsmithError, match="fonts-noto-cjk or fonts-wqy-zenhei"):
        scene.save(bare / "a.png", language="zh")
    assert not list(bare.iterdir())
    scene.save(bare / "a.png")
    scene.save(bare / "a.svg", language="zh")


def test_latin_comes_along(bare):
    for bold in (False, True):
        own = fonts.font(False, 16, bold)
        assert "DejaVu" in own.getname()[0] and own.path.startswith(
            str(Path(fonts.__file__).parent)
        )
        missing = bytes(own.getmask("\ufffe"))
        # A stage is a page, whose letters are the browser's.
        texts = [english for name, (english, _) in WORDS.items() if name[:6] != "stage."] + [
            shape.text
            for example in catalogue().examples
            for layer in picture(example.make(), "en").layers
            for shape in layer.shapes
            if shape.kind == "text"
        ]
        for letter in sorted(set("".join(texts)) - set("\n\u00a0 ")):
            assert bytes(own.getmask(letter)) != missing, f"{letter!r} is not in the font"


def test_without_any_font_pillow_has_one(bare, monkeypatch):
    monkeypatch.setattr(fonts, "_TYPEFACES", bare)
    assert fonts.font(False, 20).getlength("5×5") > 20


@pytest.mark.slow
def test_a_video_has_every_step(tmp_path):
    assert shutil.which("ffmpeg"), "ffmpeg is needed here"
    scene = scene_of("strided")
    paths = [scene.save(tmp_path / name) for name in ("a.mp4", "b.mp4")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    words = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", paths[0]]
    told = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    made = picture(scene, "en")
    seconds = round(made.seconds * 10) / 10 * (made.steps + 2)
    assert float(told["format"]["duration"]) == pytest.approx(seconds, abs=0.15)
    assert told["streams"][0]["codec_name"] == "h264"
    assert told["streams"][0]["width"] == image(made, 0).width


def test_pictures_need_neither_torch_nor_numpy():
    code = (
        "import sys; sys.modules.update(torch=None, numpy=None, PIL=None)\n"
        "import convsmith as cs\n"
        "cs.draw.animate(cs.ConvTranspose(2, 2, 3, stride=2), 3).html()\n"
        "cs.draw.animate(cs.Conv(2, 2, 3), 5).svg(strip=True)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert animate(cs.Conv(1, 1, 3), 5).steps
