"""A row compares two quantities of a race; a race lets its sides take turns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from benching.samples import Sample, SideError
from benching.setting import Setting

Clock = Literal["cpu", "wall"]
Turn = Mapping[str, Sample]
"""What each side of a race took in one turn, by the side's name."""

Side = Callable[[], Sample]


@dataclass(frozen=True)
class Quantity:
    """What a row compares: a figure of one turn.

    Attributes:
        words: what it is.
        sides: whose samples it takes.
        of: the figure, by the clock that is asked for.
        unit: ``s``, or ``MiB``, which no clock changes.
    """

    words: str
    sides: tuple[str, ...]
    of: Callable[[Turn, Clock], float]
    unit: str = "s"


def whole(side: str) -> Quantity:
    """Return the seconds of a whole process."""
    return Quantity(side, (side,), lambda turn, clock: turn[side][clock])


def training(side: str) -> Quantity:
    """Return the seconds of a process's training, with validation."""
    return Quantity(
        f"{side}: training", (side,), lambda turn, clock: turn[side][f"training_{clock}"]
    )


def memory(side: str, of: str = "mib") -> Quantity:
    """Return the peak of memory of a whole process; of its training with ``training_mib``."""
    return Quantity(f"{side}: memory", (side,), lambda turn, _: turn[side][of], unit="MiB")


def slope(more: str, fewer: str, count: int) -> Quantity:
    """Return what one of `count` runs more costs a process."""
    return Quantity(
        f"({more} less {fewer}) / {count}",
        (more, fewer),
        lambda turn, clock: (turn[more][clock] - turn[fewer][clock]) / count,
    )


@dataclass(frozen=True)
class Race:
    """Sides that take turns.

    Attributes:
        name: what rows call it.
        what: is measured, in words.
        sides: prepares, untimed, and returns the sides that are asked for by name.
        lacking: says what is missing here; None where all is there.
    """

    name: str
    what: str
    sides: Callable[[Setting], Mapping[str, Side]]
    lacking: Callable[[Setting], str | None] = lambda setting: None


@dataclass(frozen=True)
class Row:
    """A ratio of two quantities of a race, the less the better.

    Attributes:
        name: by which it is asked for.
        title: what is compared, for a reader.
        race: that measures it.
        ours: is divided
        theirs: by this.
        most: what the ratio should be at most; None for what is only watched.
        remark: what a reader must know, such as arithmetic that is not equal.
        clock: that counts on a CPU; on a GPU it is always ``wall``.
    """

    name: str
    title: str
    race: str
    ours: Quantity
    theirs: Quantity
    most: float | None = None
    remark: str = ""
    clock: Clock = "cpu"

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides that it needs."""
        return tuple(dict.fromkeys((*self.ours.sides, *self.theirs.sides)))


def run_race(race: Race, wanted: tuple[str, ...], setting: Setting) -> list[Turn]:
    """Prepare a race, and let the sides that are wanted take turns.

    Raises:
        SideError: a side ended early.
    """
    sides = race.sides(setting)
    turns: list[Turn] = []
    for number in range(setting.turns):
        turn: dict[str, Sample] = {}
        # The other way round every second time: what comes first is not always the same.
        order = wanted if number % 2 == 0 else wanted[::-1]
        for name in order:
            try:
                turn[name] = sides[name]()
            except SideError as error:
                raise SideError(f"{race.name}: {name}: {error}") from None
        turns.append(turn)
        setting.say(f"{race.name}: turn {number + 1} of {setting.turns}")
    return turns
