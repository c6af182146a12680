"""`Stage`: layers in series on one input, with their numbers, as a page that answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Conv, ConvTranspose, Pool, evaluate
from convsmith.draw.live.activations import activated
from convsmith.draw.scenes.facts import kind_of
from convsmith.draw.words import LANGUAGES
from convsmith.errors import ArgumentError
from convsmith.report.saving import check_target, save_text
from convsmith.text import times

if TYPE_CHECKING:
    from convsmith.draw.scene import Scene

__all__ = ["Layer", "Stage"]

Layer = Conv | ConvTranspose | Pool

# Sizes that a line names.
_SHOWN = 6
_PAGES, _PRINTS = (".html", ".htm"), (".svg", ".png", ".gif", ".mp4")


@dataclass(frozen=True, repr=False)
class Stage:
    """Maps side by side, from the input to the last layer's output; made by `cs.draw.stage`.

    Attributes:
        layers: in the order of the network.
        size: the spatial size of the input.
        values: the input, nested lists shaped (channels, *size).
        weights: one per layer, nested lists shaped as its `weight_shape`; None for a pool.
        biases: one per layer, a number per output channel; None where nothing is added.
        title: what the page is called in English and in Chinese; by default what the layers are.
        language: `en` or `zh`, the one that the page opens in: it has both.
        theme: `auto` (the reader's), `light` or `dark`.
        activations: what each layer's sums pass through, a name or None; () where none has one.
        paths: the names of the layers in the network that they come from; () without one.
        note: what the page says of the whole beside its sizes, in English and in Chinese.
        matrix: `matrix` or `im2col` where the page shows its one layer as one, else None.
        photo: a `data:` address of the image that lies under the input.
    """

    layers: tuple[Layer, ...]
    size: tuple[int, ...]
    values: Any
    weights: tuple[Any, ...]
    biases: tuple[Any, ...]
    title: tuple[str, str] | None = None
    language: str = "en"
    theme: str = "auto"
    activations: tuple[str | None, ...] = ()
    paths: tuple[str, ...] = ()
    note: tuple[str, str] | None = None
    photo: str | None = None
    matrix: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything that the page is made from: dicts, lists, strings and numbers.

        Layers have the names of the arithmetic; `padding` is one [low, high] per axis.

        >>> import convsmith as cs
        >>> plain = cs.draw.stage([cs.Conv(1, 1, 3)], (6, 6)).to_dict()
        >>> plain["size"], plain["layers"][0]["kernel_size"], plain["layers"][0]["padding"]
        ([6, 6], [3, 3], [[0, 0], [0, 0]])
        """
        return {
            "size": list(self.size),
            "channels": len(self.values),
            "layers": [
                _plain(layer) | self._of_network(index) for index, layer in enumerate(self.layers)
            ],
            "values": self.values,
            "weights": list(self.weights),
            "biases": list(self.biases),
            "title": self.title and dict(zip(LANGUAGES, self.title, strict=True)),
            "note": self.note and dict(zip(LANGUAGES, self.note, strict=True)),
            "photo": self.photo,
            **({"matrix": self.matrix} if self.matrix else {}),
            "language": self.language,
            "theme": self.theme,
        }

    def _of_network(self, index: int) -> dict[str, str]:
        """What a layer has beyond its arithmetic."""
        found = {"activation": self.activations, "path": self.paths}
        return {name: str(each[index]) for name, each in found.items() if each and each[index]}

    def maps(self) -> list[Any]:
        """The values of every map, the input's first, each shaped (channels, *size).

        They are `convsmith.arithmetic.evaluate`'s, activated; the page is tested against them.

        >>> import convsmith as cs
        >>> image = [[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]]
        >>> hand = cs.Conv(1, 1, 2, padding="same")
        >>> cs.draw.stage([hand], 4, values=image, weights=[[[1, 0], [2, 1]]]).maps()[1]
        [[[16, 11, 16, 15], [25, 20, 10, 13], [9, 9, 10, 12], [1, 0, 2, 4]]]
        """
        maps = [self.values]
        names = self.activations or (None,) * len(self.layers)
        for layer, weight, bias, name in zip(
            self.layers, self.weights, self.biases, names, strict=True
        ):
            maps.append(activated(name, evaluate(layer, maps[-1], weight, bias)))
        return maps

    def html(self, *, language: str | None = None, theme: str | None = None) -> str:
        """The page: one file that needs no network."""
        from convsmith.draw.live.page import page

        whole = replace(self, language=language or self.language, theme=theme or self.theme)
        return page(whole.to_dict())

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        force: bool = False,
        language: str | None = None,
        theme: str | None = None,
        strip: bool = False,
    ) -> Path:
        """Write the page, or a picture of it, the same bytes every time.

        Args:
            path: `.html`, the page; `.svg`, `.png`, `.gif` and `.mp4` are its print, whose steps go
                through the values of the output (a `.png` shows the last one).
            force: whether a file that exists may be replaced.
            language: `en` or `zh`; by default the stage's.
            theme: `auto`, `light` or `dark`; by default the stage's.
            strip: all steps in one still, as a picture (`.svg`, `.png`).

        Raises:
            ArgumentError: another suffix, a strip of a page, a stage that is too large to print, or
                a file that cannot be written.
            MissingExtra: PNG, GIF or MP4 without Pillow.
        """
        self.check_format(path, strip=strip)
        if Path(path).suffix.lower() in _PAGES:
            check_target(path, force)
            return save_text(Path(path), self.html(language=language, theme=theme), force)
        scene = self.scene(language=language)
        return scene.save(path, force=force, language=language, theme=theme, strip=strip)

    def scene(self, *, language: str | None = None) -> Scene:
        """The stage in print: what each value of the output reads, step by step.

        Raises:
            ArgumentError: three axes, or more values than a picture has room for.

        >>> import convsmith as cs
        >>> cs.draw.stage([cs.Conv(1, 1, 3), cs.Conv(1, 1, 3)], 6).scene()
        Scene('stage', 3 panels, 4 steps)
        """
        from convsmith.draw.live.printing import printed

        return printed(self, language or self.language)

    @staticmethod
    def check_format(path: str | os.PathLike[str], *, strip: bool = False) -> None:
        """Refuse a format that no stage has."""
        suffix = Path(path).suffix.lower()
        if suffix not in (*_PAGES, *_PRINTS):
            raise ArgumentError(
                f"a stage is saved as .html, or printed as {', '.join(_PRINTS)}, not as "
                f"{Path(path).name!r}"
            )
        if strip and suffix in _PAGES:
            raise ArgumentError("a strip is a picture: save the stage as .svg or .png")

    def _repr_html_(self) -> str:
        frame = escape(self.html(), quote=True)
        return (
            '<iframe sandbox="allow-scripts" style="width:100%;height:640px;border:0" '
            f'title="{escape(repr(self), quote=True)}" srcdoc="{frame}"></iframe>'
        )

    def __repr__(self) -> str:
        sizes: list[Sequence[int]] = [self.size]
        for layer in self.layers:
            sizes.append(layer.output_size(sizes[-1]))
        shown = [times(size) for size in sizes]
        if len(shown) > _SHOWN:
            shown[2:-2] = ["…"]
        return f"Stage({' → '.join(shown)})"


def _plain(layer: Layer) -> dict[str, Any]:
    """A layer with the names and defaults of the arithmetic."""
    plain: dict[str, Any] = {
        "kind": layer.kind if isinstance(layer, Pool) else
                "transposed" if layer.transposed else "conv",
        "name": kind_of(layer),
        "kernel_size": list(layer.kernel_size),
        "stride": list(layer.stride),
        "padding": [list(pair) for pair in layer.padding],
        "dilation": list(layer.dilation),
    }  # fmt: skip
    if isinstance(layer, Pool):
        return plain | {
            "ceil_mode": layer.ceil_mode, "count_include_pad": layer.count_include_pad,
        }  # fmt: skip
    plain |= {
        "in_channels": layer.in_channels,
        "out_channels": layer.out_channels,
        "groups": layer.groups,
    }
    if isinstance(layer, ConvTranspose):
        return plain | {"output_padding": list(layer.output_padding)}
    return plain | {"padding_mode": layer.padding_mode}
