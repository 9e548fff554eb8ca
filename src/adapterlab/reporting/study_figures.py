"""The pictures of a study's report."""

from collections.abc import Callable

from matplotlib.figure import Figure

from adapterlab.reporting.findings import Findings

FIGURES: dict[str, tuple[str, str, Callable[[Findings], Figure | None]]] = {}
"""Title, caption and function by file name, in the order of the report."""
