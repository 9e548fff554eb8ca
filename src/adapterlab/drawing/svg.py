"""Pictures as SVG whose texts are texts: a reader's browser has letters that no font here has."""

import io
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.figure import Figure

from adapterlab.drawing.canvas import DPI, measure_by
from adapterlab.drawing.lettering import size_of_unusual

_UNITS = 72
"""Of an SVG in an inch."""


def as_svg(figure: Figure) -> bytes:
    """Return a figure as SVG; same figure, same bytes."""
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "adapterlab"}):
        figure.dpi = _UNITS
        page = _Renderer(*figure.bbox.size, file, image_dpi=DPI, metadata={"Date": None})
        # Bars of shades are pixels, at the resolution of other pictures.
        renderer = MixedModeRenderer(figure, *figure.get_size_inches(), DPI, page)
        measure_by(figure, renderer)
        figure.draw(renderer)
        renderer.finalize()
        figure.dpi = DPI
    return file.getvalue().encode()


class _Renderer(RendererSVG):  # type: ignore[misc]  # matplotlib left it untyped
    """matplotlib's, which would measure letters that it has not as boxes, and warn of each."""

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        size = None if ismath else size_of_unusual(s, prop, _UNITS)
        return super().get_text_width_height_descent(s, prop, ismath) if size is None else size
