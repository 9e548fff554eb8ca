"""What got slower since: a measurement against the kept one of such a machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benching.kept import DECISIVE, Kept, Measured

THRESHOLD = 0.15
"""The share by which a ratio may grow before it is named."""


@dataclass(frozen=True)
class Change:
    """A row's ratio before and now."""

    name: str
    before: float
    now: float

    @property
    def factor(self) -> float:
        """How many times the ratio of before it is."""
        return self.now / self.before

    def __str__(self) -> str:
        return f"{self.name}: {self.before:.3g} before, {self.now:.3g} now ({self.factor - 1:+.0%})"


@dataclass(frozen=True)
class Comparison:
    """Rows by what has become of them.

    Attributes:
        slower, quicker: by more than the threshold.
        alike: the others.
        incomparable: and why.
    """

    slower: list[Change] = field(default_factory=list)
    quicker: list[Change] = field(default_factory=list)
    alike: list[Change] = field(default_factory=list)
    incomparable: dict[str, str] = field(default_factory=dict)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words what is decisive and differs between two machines."""
    return [
        f"{name}: {_said(before.get(name))} before, {_said(now.get(name))} now"
        for name in DECISIVE
        if before.get(name) != now.get(name)
    ]


def compare(before: Kept, now: Kept, threshold: float = THRESHOLD) -> Comparison:
    """Compare the ratios of both sides, row by row of what was measured now.

    Seconds do not carry over from one hour to another of a machine that others use; ratios of
    sides that took turns do.

    Args:
        before: what is kept.
        now: what was measured.
        threshold: the share by which a ratio may grow.
    """
    found = Comparison()
    for name, row in now.rows.items():
        if why := _incomparable(before.rows.get(name), row):
            found.incomparable[name] = why
            continue
        change = Change(name, before.rows[name].ratio(), row.ratio())
        if change.factor > 1 + threshold:
            found.slower.append(change)
        elif change.factor < 1 / (1 + threshold):
            found.quicker.append(change)
        else:
            found.alike.append(change)
    return found


def _incomparable(before: Measured | None, now: Measured) -> str | None:
    if not now.there:
        return now.failed or now.skipped
    if before is None:
        return "it is not kept"
    if not before.there:
        return f"it was not measured before: {before.failed or before.skipped}"
    if before.data != now.data:
        return f"measured on {before.data} before, on {now.data} now"
    if before.clock != now.clock:
        return f"{before.clock} seconds counted before, {now.clock} seconds now"
    return None


def _said(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value or "none")
