"""The canvas of pictures: figures laid out by hand, drawn once, written as small PNG files.

A run draws four pictures, which must not take longer than the training of a small model. What
matplotlib does slowly is done here: text, ticks, images of few pixels, margins.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedFormatter, FixedLocator
from PIL import ImageChops

from adapterlab.base.files import write_bytes
from adapterlab.drawing.lettering import Renderer

INK, PAPER = "#222222", "#FFFFFF"
DPI = 150
_MARGIN = 15

# Names from users: a class called "$5 to $10" is not a formula.
VERBATIM: dict[str, Any] = {"parse_math": False}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as `as_png` returns it.

    Raises:
        OSError: if the file cannot be written.
    """
    write_bytes(path, as_png(figure))


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG at 150 dpi, its empty margins cut; same figure, same bytes."""
    figure.dpi = DPI
    renderer = Renderer(*figure.bbox.size, DPI)
    measure_by(figure, renderer)
    figure.draw(renderer)
    picture = renderer.picture()
    # To look for ink is cheaper than to ask every artist for its extent, as "tight" does.
    box = ImageChops.invert(picture).getbbox() or (0, 0, *picture.size)
    return _png(np.asarray(picture), box)


def lay_out(figure: Figure) -> None:
    """Put what is on a figure in the places that it has in `as_png`, without drawing it."""
    renderer = Renderer(*figure.bbox.size, figure.dpi)
    measure_by(figure, renderer)
    with renderer._draw_disabled():
        figure.draw(renderer)


def measure_by(figure: Figure, renderer: Any) -> None:
    """Let a layout, if the figure has one, measure texts by who is to draw them."""
    figure.canvas.get_renderer = lambda: renderer  # type: ignore[attr-defined]


def framed(
    title: str, across: tuple[float, float, float], up: tuple[float, float]
) -> tuple[Figure, Axes]:
    """Make a figure of one panel.

    Args:
        title: of the panel; the figure is made wider if it needs to be.
        across: inches at the left of the panel, of the panel, and at its right.
        up: inches below the panel, and of the panel.
    """
    left, width, right = across
    overhang = (inches([title], 12) - width) / 2 + 0.1
    left, right = max(left, overhang), max(right, overhang)
    figure = Figure(figsize=(left + width + right, sum(up) + 0.5), dpi=DPI, facecolor=PAPER)
    axes = panel(figure, left, up[0], width, up[1])
    axes.set_title(title, y=1, color=INK, **VERBATIM)
    return figure, axes


def panel(figure: Figure, left: float, below: float, width: float, height: float) -> Axes:
    """Add axes in a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, below / up, width / across, height / up))


def inches(texts: Iterable[str], points: float) -> float:
    """Return how wide the widest of the texts is at a size in points."""
    measure = Renderer(1, 1, DPI).get_text_width_height_descent
    font = FontProperties(size=points)
    lines = (line for text in texts for line in text.split("\n"))
    return float(max((measure(line, font, False)[0] for line in lines), default=0)) / DPI


def show(
    axes: Axes, image: npt.NDArray[Any], extent: tuple[float, float, float, float], **style: Any
) -> AxesImage:
    """Add an image between left, right, bottom and top in data coordinates."""
    shown = _Blocks(axes, extent=extent, interpolation="nearest")
    shown.set(data=image, **style)
    axes.add_image(shown)
    return shown


def draw_scale(axis: XAxis | YAxis, names: Mapping[int, str] | None = None) -> None:
    """Leave the drawing of an axis to `_Scale`; ``names``, if any, take the place of its ticks."""
    if names is not None:
        axis.set_tick_params(length=0)
        axis.set_major_locator(FixedLocator(list(names)))
        axis.set_major_formatter(FixedFormatter(list(names.values())))
    axis.set_visible(False)
    axis.axes.add_artist(_Scale(axis))


def write_in(axes: Axes, texts: Iterable[tuple[float, float, str, str]], points: float) -> None:
    """Write texts in one size, each centred at its x and y in data coordinates, in its colour."""
    axes.add_artist(Texts(axes, list(texts), FontProperties(size=points)))


class Texts(Artist):
    """Draws many short texts; matplotlib takes longer to lay each out than to draw it.

    Attributes:
        texts: x and y in data coordinates, the text and its colour.
    """

    zorder = 3

    def __init__(
        self, axes: Axes, texts: list[tuple[float, float, str, str]], font: FontProperties
    ) -> None:
        super().__init__()
        self.texts = texts
        self._axes, self._font = axes, font

    def draw(self, renderer: Any) -> None:
        """Draw all texts."""
        places = self._axes.transData.transform([text[:2] for text in self.texts])
        measure = renderer.get_text_width_height_descent
        _, height, descent = measure("lp", self._font, False)
        baselines = renderer.height - places[:, 1] + height / 2 - descent
        pen = renderer.new_gc()
        for x, y, (_, _, text, colour) in zip(places[:, 0], baselines, self.texts, strict=True):
            pen.set_foreground(colour)
            width, _, _ = measure(text, self._font, False)
            renderer.draw_text(pen, x - width / 2, y, text, self._font, 0)


class _Scale(Artist):
    """Draws an axis with a single tick, whose lines stand in all places, and the axis's label.

    matplotlib makes five artists for every tick and lays them out twice, which takes longer than
    all else in a panel of curves.
    """

    zorder = 0.5

    def __init__(self, axis: XAxis | YAxis) -> None:
        super().__init__()
        self._axis = axis

    def draw(self, renderer: Any) -> None:
        axis, upright = self._axis, self._axis.axis_name == "x"
        places = np.asarray(axis.get_majorticklocs(), dtype=float)
        names = axis.get_major_formatter().format_ticks(places.tolist())
        low, high = sorted(axis.get_view_interval())
        seen = np.flatnonzero((low <= places) & (places <= high))
        places, names = places[seen], [names[i] for i in seen]

        (tick,) = axis.get_major_ticks(1)
        # A stroke from end to end of the panel, and a gap.
        strokes = np.tile([0, 1, np.nan], len(seen)), np.repeat(places, 3)
        lines = {
            tick.gridline: strokes,
            tick.tick1line: (np.zeros(len(seen)), places),
            tick.tick2line: (np.ones(len(seen)), places),
        }
        for line, data in lines.items():
            line.set_data(*(data[::-1] if upright else data))
            line.draw(renderer)
        label = tick.label2 if tick.label2.get_visible() else tick.label1
        for at, name in zip(places, names, strict=True):
            label.set(text=name, **{"x" if upright else "y": at}, **VERBATIM)
            label.draw(renderer)

        size = float(label.get_fontsize())
        level = upright and not label.get_rotation()
        room = 1.3 * size / 72 if level else inches(names, size)
        room += (tick.get_tick_padding() + 4 + axis.labelpad) / 72
        width, height = axis.axes.bbox.size / renderer.dpi
        sides = {
            "bottom": (0.5, -room / height),
            "left": (-room / width, 0.5),
            "right": (1 + room / width, 0.5),
        }
        axis.set_label_coords(*sides[axis.get_label_position()])
        axis.label.draw(renderer)


class _Blocks(AxesImage):
    """An image whose pixels become blocks; matplotlib's resampling takes ten times as long."""

    def make_image(self, renderer: Any, *args: Any, **kwargs: Any) -> Any:
        if self.get_interpolation() != "nearest":
            return super().make_image(renderer, *args, **kwargs)
        box = self.get_window_extent(renderer)
        left, below, right, top = (round(x) for x in (box.xmin, box.ymin, box.xmax, box.ymax))
        pixels = self.to_rgba(np.ma.asarray(self.get_array()), bytes=True)
        columns = np.arange(right - left) * pixels.shape[1] // (right - left)
        rows = np.arange(top - below)[::-1] * pixels.shape[0] // (top - below)
        return pixels.take(columns, axis=1).take(rows, axis=0), left, below, None


def _png(page: npt.NDArray[np.uint8], box: tuple[int, int, int, int]) -> bytes:
    """Encode a box of ``[H, W, 3]`` in a white margin, without Pillow's trial of filters."""
    left, top, right, bottom = box
    ink = page.reshape(len(page), -1)[top:bottom, 3 * left : 3 * right]
    width, height = right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN
    # By filter 2, each row is written as its difference to the one above.
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 0] = 2
    rows[0, 1:] = 255
    change = rows[_MARGIN : 1 - _MARGIN, 1 + 3 * _MARGIN : -3 * _MARGIN]
    change[0] = ink[0] - 255
    np.subtract(ink[1:], ink[:-1], out=change[1:-1])
    change[-1] = 255 - ink[-1]
    a_metre = round(DPI / 0.0254)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"pHYs": struct.pack(">IIB", a_metre, a_metre, 1),
        b"IDAT": zlib.compress(rows.data, level=1),
        b"IEND": b"",
    }
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
