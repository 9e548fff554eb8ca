"""A study's looks: what was tested at which level before, and what that leaves for the next."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from adapterlab.evidence.intervals import check_level
from adapterlab.evidence.sequential import Spending, levels_spending, pocock, spent_of
from adapterlab.evidence.verdicts import MIN_SEEDS


@dataclass(frozen=True)
class Look:
    """A look at a study: a report that was made, or a decision by which a sweep went on.

    Attributes:
        seeds: finished runs of each arm that has any, the largest number first.
        level: at which differences were tested.
    """

    seeds: tuple[int, ...]
    level: float

    @property
    def most(self) -> int:
        """Seeds of the arm that has most."""
        return max(self.seeds, default=0)

    @property
    def tested(self) -> tuple[int, ...]:
        """Seeds of the arms that have enough for a test, the largest number first."""
        return tuple(sorted((n for n in self.seeds if n >= MIN_SEEDS), reverse=True))

    @property
    def tests(self) -> bool:
        """Whether there were two arms at least that could be tested."""
        return len(self.tested) > 1


@dataclass(frozen=True)
class _Path:
    """The looks at which something was tested for the first time.

    Attributes:
        most: seeds of the largest arm at each look that had more seeds than those before.
        times: information of these looks, in any unit.
        beyond: which of them no plan had.
        arms: tested arms at each look that had more arms than those before, and no more seeds.
    """

    most: tuple[int, ...]
    times: tuple[float, ...]
    beyond: tuple[bool, ...]
    arms: tuple[int, ...]

    @classmethod
    def of(cls, looks: Sequence[Look], planned: int | None) -> "_Path":
        """Go through looks that have tested something, in their order; at least one."""
        seen: list[tuple[int, ...]] = []
        most: list[int] = []
        times: list[float] = []
        beyond: list[bool] = []
        arms: list[int] = []
        for look in looks:
            if any(_within(look.tested, other) for other in seen):
                continue
            if not seen or look.most > max(most):
                step = (look.most - 1) / (max(most) - 1) if most else look.most - 1.0
                times.append(step * (times[-1] if times else 1.0))
                most.append(look.most)
                beyond.append(look.most > (most[0] if planned is None else planned))
            elif (caught := _catching_up(seen[-1], look.tested)) is not None:
                times.append(times[-1] * caught)
                most.append(look.most)
                beyond.append(True)
            else:
                arms.append(len(look.tested))
            seen.append(look.tested)
        return cls(tuple(most), tuple(times), tuple(beyond), tuple(arms))


def _within(now: Sequence[int], before: Sequence[int]) -> bool:
    """Say whether a look has no arm and no seed that an earlier one had not."""
    return len(now) <= len(before) and all(a <= b for a, b in zip(now, before, strict=False))


def _catching_up(before: Sequence[int], now: Sequence[int]) -> float | None:
    """Return how many times the information of an arm has grown, though the largest has not.

    That of the arm which may have grown most; None if there are more arms, and no more seeds.
    """
    grown = list((Counter(before) - Counter(now)).elements())
    more = list((Counter(now) - Counter(before)).elements())
    return (max(more) - 1) / (min(grown) - 1) if grown and more else None


def next_look(
    before: Sequence[Look],
    seeds: Sequence[int],
    *,
    most: int | None = None,
    level: float = 0.05,
    spending: Spending = pocock,
) -> tuple[Look, str | None]:
    """Return the level of a look, given those before it, and the sentence to print beside it.

    What has been looked at before is no new look: it has the level of the last. With fewer than
    two arms of `MIN_SEEDS` seeds nothing is tested, so such are none either.

    Seeds of any arm make a look a new one. Where they are of arms that only catch up with the
    largest, no plan has the look, and it spends as one beyond the plan does (`levels`): against an
    arm of 20 seeds, another tested at 3, 5, 8, 10, 15 and 20 seeds at 5% each has a false
    difference in a fifth of studies. Arms alone that are added leave the level as it is, since all
    pairs of a look keep it together; that there have been several such looks is said.

    Args:
        before: looks in the order in which they were made.
        seeds: finished runs of each arm now, at least one arm.
        most: seeds an arm that were planned at most; None if there was no plan, and the first look
            was meant to be the only one.
        level: of the whole study.
        spending: of the plan.

    Returns:
        The look, and a sentence; None for the only look of a study without a plan.

    Raises:
        ValueError: no arms, or an argument outside its range.
    """
    check_level(level)
    if not seeds or min(seeds) < 0 or (most is not None and most < MIN_SEEDS):
        raise ValueError(
            f"seeds {list(seeds)} of most {most}; expected arms, and a plan of at least {MIN_SEEDS}"
        )
    now = Look(tuple(sorted(filter(None, seeds), reverse=True)), level)
    if not now.tests:
        return now, None
    tested = [look for look in before if look.tests]
    path = _Path.of([*tested, now], most)
    planned = path.most[0] if most is None else most
    is_new = not tested or path.times != _Path.of(tested, most).times
    shares = spent_of(path.most, path.beyond, planned, level, spending=spending)
    if is_new:
        arms = max(len(look.seeds) for look in (*tested, now))
        used = levels_spending(path.times, shares, arms)[-1]
    else:
        used = next((look.level for look in tested if look.seeds == now.seeds), tested[-1].level)
    look = Look(now.seeds, used)
    first = len((tested or [now])[0].tested)
    return look, _sentence(path, most, look, shares[-1], level, first)


def _sentence(
    path: _Path, most: int | None, look: Look, whole: float, level: float, first: int
) -> str | None:
    """Say what a look is tested at, and what all looks keep together; see `next_look`."""
    if not path.arms:
        return _on_seeds(path, most, look, whole, level)
    # Of the pairs of a look, those with arms that are new to it have their part of its level.
    sizes = [first, *path.arms]
    added = sum(look.level * (1 - a * (a - 1) / (b * (b - 1))) for a, b in pairwise(sizes) if b > a)
    counts = _and([*dict.fromkeys(sizes)])
    said = (
        f"Arms were added after the first look (looks at {counts} arms): differences are tested at "
        f"{_percent(look.level)} each time, and the chance of a false one in any of these looks is "
        f"up to {_percent(min(whole + added, 1.0))}, not {_percent(level)}."
    )
    if len(path.most) == 1 and most is None:
        return said
    return f"{_on_seeds(path, most, look, whole, level)} {said}"


def _on_seeds(path: _Path, most: int | None, look: Look, whole: float, level: float) -> str | None:
    looks = path.most
    if most is None and len(looks) == 1:
        return None
    made = f"{_and(looks)} seeds an arm"
    if not any(path.beyond):
        said = (
            f"Look {len(looks)} of a study that may have {most} seeds an arm (so far {made}): "
            f"differences are tested at {_percent(look.level)}, so that all looks together keep "
            f"{_percent(level)}."
        )
        if len(looks) > 1 and min(look.seeds) < max(look.seeds):
            said += (
                " An arm of which only later seeds are missing has left, since a look found it "
                "worse: it left when it looked worst, so it is a little better than its mean."
            )
        return said
    made = f"looks at {made}"
    if (different := [*dict.fromkeys(looks)]) != [*looks]:
        made = f"{len(looks)} looks, with {_and(different)} seeds in the arm that has most"
    planned = "the first look" if most is None else f"the plan of {most} seeds an arm"
    return (
        f"Seeds were added after {planned} ({made}): differences are tested at "
        f"{_percent(look.level)}, and the chance of a false one in any of these looks is up to "
        f"{_percent(whole)}, not {_percent(level)}. Plan looks beforehand "
        f"(hydra/sweeper=sequential) to keep {_percent(level)}."
    )


def _and(numbers: Sequence[int]) -> str:
    head, last = numbers[:-1], str(numbers[-1])
    return f"{', '.join(map(str, head))} and {last}" if head else last


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%"
