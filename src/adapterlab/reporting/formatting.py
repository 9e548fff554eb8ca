"""Figures as people read them: shares in percent, differences in points, sizes, p-values."""

import re
from collections.abc import Iterable, Sequence

from adapterlab.evidence.all_metrics import metric as known_metric
from adapterlab.evidence.contributions import SOURCE
from adapterlab.evidence.intervals import Interval
from adapterlab.reporting.findings import Estimate

NOT_MEASURED = "not measured"

MOST_NAMES = 5
"""Names in a sentence; of more, the first few are written and the rest counted."""


def percent(share: float) -> str:
    """Write a share: ``87.09%``; one below 1 is never 100%, and one above 0 never 0%."""
    return f"{_unsigned_zero(_on_its_side(100 * share, '.{}f', (0, 100)))}%"


def points(difference: float) -> str:
    """Write a difference of shares in percentage points, with its sign: ``+0.21``."""
    return _unsigned_zero(f"{100 * difference:+.2f}")


def with_interval(figure: Estimate | None, metric: str = "accuracy") -> str:
    """Write a figure with its interval: ``87.09% (86.88 to 87.30)``."""
    if figure is None:
        return NOT_MEASURED
    value = measured(figure.mean, metric)
    if figure.interval is None:
        return value
    low, high = figure.interval.low, figure.interval.high
    if not is_share(metric):
        return f"{value} ({low:.4f} to {high:.4f})"
    return f"{value} ({percent(low)[:-1]} to {percent(high)[:-1]})"


def between(interval: Interval) -> str:
    """Write an interval of shares: ``86.88% to 87.30%``."""
    return f"{percent(interval.low)} to {percent(interval.high)}"


def unit(metric: str) -> str:
    """Return the unit of a metric's differences: ``points``, ``nats``, or nothing."""
    found = known_metric(metric)
    return "" if found is None else found.unit


def titled(metric: str) -> str:
    """Write what a metric is called in a sentence: ``a test macro-F1``."""
    title = title_of(metric)
    return f"an {title}" if metric == SOURCE else f"a test {title}"


def title_of(metric: str) -> str:
    """Write what a metric is called: ``macro-F1``."""
    found = known_metric(metric)
    return metric if found is None else found.title


def least_of(metric: str) -> float:
    """Return the least that a share of the test split may be."""
    found = known_metric(metric)
    return 0.0 if found is None else found.least


def within(limits: tuple[float, float], metric: str) -> tuple[float, float]:
    """Cut an axis to what a share may be, with room for half a line at both ends."""
    return max(limits[0], least_of(metric) - 0.005), min(limits[1], 1.005)


def is_share(metric: str) -> bool:
    """Say whether a metric of the test split is a share, written in percent."""
    return unit(metric) == "points"


def measured(value: float, metric: str) -> str:
    """Write a value of a metric: ``87.09%``, or ``0.3127`` of one that is no share."""
    return percent(value) if is_share(metric) else f"{value:.4f}"


def span(interval: Interval, metric: str) -> str:
    """Write an interval of a metric."""
    if is_share(metric):
        return between(interval)
    return f"{interval.low:.4f} to {interval.high:.4f}"


def gap(difference: float, metric: str) -> str:
    """Write a difference of a metric with its unit, without a sign: ``5.65 points``.

    A difference that rounds to nothing is written to the digit that it has.
    """
    scale, digits, name = (100, 2, "points") if is_share(metric) else (1, 4, unit(metric))
    size = abs(difference) * scale
    if 0 < size < 0.5 * 10**-digits:
        return f"{size:.1g} {name}".rstrip()
    return f"{size:.{digits}f} {name}".rstrip()


def signed(difference: float, metric: str) -> str:
    """Write a difference of a metric with its sign: ``+0.21``."""
    return points(difference) if is_share(metric) else _unsigned_zero(f"{difference:+.4f}")


def ends(interval: Interval, metric: str, margin: float) -> str:
    """Write the interval of a difference, whose ends stay on their sides of 0 and of the margin.

    What decides is whether 0 lies between them: ``0.00 to +2.40`` may be either.
    """
    scale, digits = (100, 2) if is_share(metric) else (1, 4)
    limits = (0, margin * scale, -margin * scale)
    texts = (
        _on_its_side(end * scale, "+.{}f", limits, digits) for end in (interval.low, interval.high)
    )
    return " to ".join(map(_unsigned_zero, texts))


def _on_its_side(
    value: float, form: str, limits: Sequence[float], digits: int = 2, most: int = 7
) -> str:
    """Write a number with so many digits, or as many as keep it on its side of each limit."""
    near = [limit for limit in limits if abs(value - limit) > 1e-9]
    while True:
        text = f"{value:{form.format(digits)}}"
        told = float(text)
        if digits >= most or all((told > x) == (value > x) and told != x for x in near):
            return text
        digits += 1


def _unsigned_zero(text: str) -> str:
    """Take the sign off what rounds to 0: it would claim a direction."""
    return text if float(text) else text.lstrip("+-")


def confident(level: float) -> str:
    """Write how sure a test at a level is: ``95%``; never 100%."""
    return f"{_on_its_side(100 - 100 * level, '.{}g', (100,), digits=3)}%"


def p_value(p: float | None, level: float = 0.05) -> str:
    """Write a p-value to two digits that count, or so many that it is on its side of the level.

    A very small one is written as a bound.
    """
    if p is None:
        return "not tested"
    if p < 0.001 < level:
        return "<0.001"
    return _on_its_side(p, ".{}g" if p < 0.1 else ".{}f", (level,))


def size(count: float) -> str:
    """Write a number of bytes: ``46.3 KiB``."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def seconds(figure: Estimate) -> str:
    """Write a mean of seconds to three digits that count: ``2.31``."""
    return f"{figure.mean:.3g}" if figure.mean < 1000 else f"{figure.mean:,.0f}"


def listed(names: Sequence[str], most: int = MOST_NAMES, joint: str = "and") -> str:
    """Write names as a list: ``a, b and c``; of many the first, and how many more."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {joint} {names[-1]}"


def percents(shares: Iterable[float], joint: str = "and") -> str:
    """Write several shares: all of up to three that differ, or else from which to which."""
    different = sorted({percent(share) for share in shares}, key=lambda text: float(text[:-1]))
    if len(different) > 3:
        return f"{different[0]} to {different[-1]}"
    return listed(different, joint=joint)


def as_file_name(name: str) -> str:
    """Return a name as part of a file's: that of a data set, read from a store, may be `../x`."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")[:100]
