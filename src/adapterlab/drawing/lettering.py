"""Letters of pictures: who writes them, from which font, and how wide those are that none has."""

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import findfont, fontManager, get_font
from PIL import Image, ImageDraw, ImageFont

_LOG = logging.getLogger(__name__)
_SAID: set[str] = set()
"""Letters that no font has, of which that was said."""


class Renderer(RendererAgg):  # type: ignore[misc]  # matplotlib left it untyped
    """Agg, but for text: Pillow takes a tenth of the time, and writes over all else at the end.

    Text with letters that its font lacks is written in an installed one that has them all; where
    there is none, boxes stand for them, and that is said once.
    """

    def __init__(self, width: float, height: float, dpi: float) -> None:
        super().__init__(width, height, dpi)
        self._texts: list[tuple[tuple[int, int], str, ImageFont.FreeTypeFont, Any, float]] = []

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        """Return width, height and descent of a line in pixels."""
        font = self._font(s, prop, ismath)
        if font is None:
            return super().get_text_width_height_descent(s, prop, ismath)
        _, top, right, bottom = font.getbbox(s, anchor="ls")
        return right + _wider(s, font), bottom - top, bottom

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, *args: Any, **how: Any
    ) -> None:
        """Keep a text until all else is drawn."""
        font = self._font(s, prop, how.get("ismath"))
        if font is None or angle not in (0, 90):
            super().draw_text(gc, x, y, s, prop, angle, *args, **how)
            return
        colour = tuple(round(255 * part) for part in gc.get_rgb()[:3])
        self._texts.append(((round(x), round(y)), s, font, colour, angle))

    def picture(self) -> Image.Image:
        """Return what was drawn."""
        size = int(self.width), int(self.height)
        picture = Image.frombytes("RGB", size, self.buffer_rgba(), "raw", "RGBX")
        pen = ImageDraw.Draw(picture)
        for (x, y), text, font, colour, angle in self._texts:
            if not angle:
                pen.text((x, y), text, fill=colour, font=font, anchor="ls")
                continue
            left, top, right, bottom = map(int, font.getbbox(text, anchor="ls"))
            mask = Image.new("L", (right - left, bottom - top))
            ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font, anchor="ls")
            picture.paste(colour, (x + top, y - right), mask.transpose(Image.Transpose.ROTATE_90))
        return picture

    def _font(self, text: str, prop: Any, ismath: Any) -> ImageFont.FreeTypeFont | None:
        if ismath or "\n" in text:  # lines are laid out by matplotlib
            return None
        file = _font_of(findfont(prop), frozenset(text))
        return _load_font(file, prop.get_size_in_points() * self.dpi / 72)


def _wider(text: str, font: ImageFont.FreeTypeFont) -> float:
    """Return by how much a text is wider than its font says: what it lacks may be as wide as high.

    So are Chinese and Korean letters, which a reader's browser has.
    """
    lacking = set(text) - _letters(str(font.path))
    return sum(
        max(0.0, font.size - font.getlength(letter))
        for letter in text
        if letter in lacking and east_asian_width(letter) in "WF"
    )


@lru_cache(maxsize=256)
def _font_of(usual: str, letters: frozenset[str]) -> str:
    """Return the file of a font that has all letters: the usual one, else one that is installed.

    The usual one as well where none has them.
    """
    if letters <= _letters(usual):
        return usual
    for file in _installed():
        if letters <= _letters(file):
            return file
    lacking = letters - _letters(usual) - _SAID
    if lacking:
        _SAID.update(lacking)
        _LOG.warning(
            "no font here has the letters %s: boxes stand for them in pictures",
            ", ".join(sorted(lacking)),
        )
    return usual


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    """Return the files of upright fonts of usual weight, those without serifs first."""
    found = {
        font.fname
        for font in fontManager.ttflist
        if font.style == "normal" and font.weight in (400, "normal", "regular")
    }
    kept = (file for file in found if "lastresort" not in file.lower())  # which has boxes only
    return tuple(sorted(kept, key=lambda file: ("sans" not in Path(file).name.lower(), file)))


@lru_cache(maxsize=64)
def _load_font(file: str, pixels: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, pixels)


@lru_cache(maxsize=256)
def _letters(file: str) -> frozenset[str]:
    return frozenset(map(chr, get_font(file).get_charmap()))


def size_of_unusual(text: str, prop: Any, dpi: float) -> tuple[float, float, float] | None:
    """Return width, height and descent of a text in pixels; None if the usual font has its letters.

    Args:
        text: one line.
        prop: matplotlib's properties of its font.
        dpi: pixels in an inch.
    """
    if _letters(findfont(prop)).issuperset(text):
        return None
    width, height, descent = Renderer(1, 1, dpi).get_text_width_height_descent(text, prop, False)
    return width, height, descent
