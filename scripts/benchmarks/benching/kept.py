"""What was measured, as it is kept: one file of JSON a kind of machine, one entry a row."""

import datetime
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benching.rows import Clock, Row, Turn

RESULTS = Path(__file__).resolve().parents[1] / "results"

DECISIVE = ("cpu", "flags", "cores", "usable_cores", "threads", "accelerator", "torch", "python")
"""Facts of a machine without which ratios need not be alike."""


@dataclass(frozen=True)
class Measured:
    """A row as it was measured once.

    Attributes:
        date, commit: when, and of which state of this code; ``+`` says that files differed.
        load: how many processes wanted a core, on average over the minute before.
        data: the images that were there.
        clock: that counts.
        unit: of both sides.
        ours, theirs: both sides by clock, a value a turn; of memory by clock as well, alike.
        samples: what each side took, by side and figure, a value a turn.
        skipped: why it was not measured; all else is then empty.
        failed: what a side said when it ended early; likewise.
    """

    date: str
    commit: str
    load: float
    data: str = ""
    clock: Clock = "cpu"
    unit: str = "s"
    ours: Mapping[Clock, list[float]] = field(default_factory=dict)
    theirs: Mapping[Clock, list[float]] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, list[float]]] = field(default_factory=dict)
    skipped: str = ""
    failed: str = ""

    @property
    def there(self) -> bool:
        """Whether it was measured."""
        return not self.skipped and not self.failed

    def ratio(self, clock: Clock | None = None) -> float:
        """Return the ratio of the medians, by the clock that counts unless another is named."""
        clock = clock or self.clock
        return median(self.ours[clock]) / median(self.theirs[clock])

    def spread(self, clock: Clock | None = None) -> tuple[float, float]:
        """Return the smallest and the largest ratio of a turn."""
        clock = clock or self.clock
        both = zip(self.ours[clock], self.theirs[clock], strict=True)
        ratios = [ours / theirs for ours, theirs in both]
        return min(ratios), max(ratios)


@dataclass
class Kept:
    """A machine and what was measured on it.

    Attributes:
        machine: its fingerprint.
        rows: by name.
    """

    machine: Mapping[str, Any]
    rows: dict[str, Measured] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name the kind of machine, by what decides."""
        text = json.dumps([self.machine.get(name) for name in DECISIVE])
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def save(self, folder: Path = RESULTS) -> Path:
        """Write it; rows that were kept of such a machine, and are not here, stay."""
        place = folder / f"{self.name}.json"
        before = load(place).rows if place.is_file() else {}
        rows = {name: asdict(row) for name, row in sorted({**before, **self.rows}.items())}
        write(place, self.machine, rows=rows)
        return place


def write(place: Path, machine: Mapping[str, Any], **parts: object) -> None:
    """Write a machine, and what was measured on it, as JSON."""
    values = {"machine": {k: v for k, v in machine.items() if k != "commit"}, **parts}
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    part.write_text(_as_json(values))
    part.replace(place)


def load(place: Path) -> Kept:
    """Read what `Kept.save` wrote."""
    values = json.loads(place.read_text())
    return Kept(values["machine"], {name: Measured(**row) for name, row in values["rows"].items()})


def measured(row: Row, turns: Sequence[Turn], about: Mapping[str, Any], *, gpu: bool) -> Measured:
    """Return what a race's turns say of a row.

    Args:
        row: which.
        turns: of its race.
        about: date, commit, load, data.
        gpu: whether a GPU computes, whose work no CPU's clock sees.
    """
    clocks: tuple[Clock, ...] = ("cpu", "wall")
    sides = {side: [turn[side].values for turn in turns] for side in row.sides}
    return Measured(
        **about,
        clock="wall" if gpu else row.clock,
        unit=row.ours.unit,
        ours={clock: [_rounded(row.ours.of(turn, clock)) for turn in turns] for clock in clocks},
        theirs={
            clock: [_rounded(row.theirs.of(turn, clock)) for turn in turns] for clock in clocks
        },
        samples={
            side: {name: [_rounded(one[name]) for one in values] for name in values[0]}
            for side, values in sides.items()
        },
    )


def now(commit: str, data: str) -> dict[str, Any]:
    """Return what is said about a measurement that begins now."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": today, "commit": commit, "load": round(os.getloadavg()[0], 1), "data": data}


def _rounded(value: float) -> float:
    """Keep five digits."""
    return float(f"{value:.5g}")


def _as_json(values: object) -> str:
    """Write JSON with lists of numbers on one line."""
    text = json.dumps(values, indent=1)
    lines: list[str] = []
    open_list = False
    for line in text.splitlines():
        if open_list:
            lines[-1] += line.strip() if line.strip() in ("]", "],") else line.strip() + " "
            open_list = line.strip() not in ("]", "],")
            if not open_list:
                lines[-1] = lines[-1].replace(" ]", "]")
        else:
            lines.append(line)
            open_list = line.endswith("[")
    return "\n".join(lines) + "\n"
