"""How often equal arms are told apart after each was tuned on validation.

    python scripts/simulations/tuned.py                 all rows, half an hour
    python scripts/simulations/tuned.py --studies 300   a first impression

A run's luck has a deviation of 1, on test and on validation, with a correlation between the two.
First, all settings are equally good: two arms of so many trials, compared on seeds of their own, or
on seeds that they were tuned with. A setting was chosen for the luck of its run, so where that run
is compared, too, the arm that tried more has more of it. Then settings differ, in the same way for
both arms, by so many deviations, and each arm is run with what its tuning runs chose: arms that are
told apart differ, but by what was chosen, not by what they are. Last such arms are looked at as
`hydra/sweeper=sequential` does, until it stops: *apart*, studies in which any look tells two arms
apart; *false*, those in which what was chosen for the two is equally good; *intervals*, those whose
differences all hold at the stop, of the arms with what was chosen; *headline*, those in which the
interval of the best arm left, by its scores, holds.
"""

import numpy as np
import numpy.typing as npt
from unequal import spread_of, told_apart

from adapterlab.app.script_options import Parser, at_least
from adapterlab.evidence.family import all_pairs
from adapterlab.evidence.intervals import t_interval
from adapterlab.evidence.sequential import levels
from adapterlab.studies.sequential.stopping import Pair, decide

TRIALS = [(12, 12), (12, 3), (12, 1)]
REUSED = [(0, 0.9), (1, 0.3), (1, 0.9), (3, 0.3), (3, 0.9)]
"""Tuning seeds that are compared as well, and the correlation of validation and test."""

RUNS = (3, 5, 10)
LOOKS = (3, 5, 8, 10, 15, 20)


def tuned(
    rng: np.random.Generator,
    trials: tuple[int, ...],
    runs: int,
    *,
    tuning_seeds: int,
    correlation: float,
    settings: float = 0.0,
    reused: bool = False,
) -> list[tuple[float, npt.NDArray[np.float64]]]:
    """Return how good each arm is with what was chosen, and the test scores of its runs.

    Args:
        rng: of all draws.
        trials: settings that each arm tries.
        runs: that are compared.
        tuning_seeds: runs of each setting, by whose mean one is chosen.
        correlation: of a run's luck on validation with that on test.
        settings: standard deviation of how good they are.
        reused: whether tuning seeds are compared, before others.
    """
    good = rng.normal(0, settings, max(trials))
    made = []
    for count in trials:
        luck = rng.standard_normal((count, tuning_seeds))
        rest = rng.standard_normal((count, tuning_seeds))
        validation = good[:count, None] + correlation * luck
        validation += np.sqrt(1 - correlation**2) * rest
        chosen = int(validation.mean(axis=1).argmax())
        compared = rng.standard_normal(runs)
        if reused:
            again = min(runs, tuning_seeds)
            compared[:again] = luck[chosen, :again]
        made.append((float(good[chosen]), good[chosen] + compared))
    return made


def false(studies: int, seed: int, trials: tuple[int, ...], runs: int, **how: float | bool) -> str:
    """Return the share of studies in which two arms are told apart."""
    rng = np.random.default_rng(seed)
    found = 0
    for study in range(studies):
        arms = tuned(rng, trials, runs, **how)  # type: ignore[arg-type]
        found += told_apart([scores for _, scores in arms], 0.05, study)
    return f"{found / studies:.1%}"


def looked_at(
    arms: list[tuple[float, npt.NDArray[np.float64]]], seed: int
) -> tuple[bool, bool, bool, bool]:
    """Look at a study until it stops; return what is apart, false, and what holds."""
    good = {str(arm): at for arm, (at, _) in enumerate(arms)}
    left, seeds, apart, false, held = tuple(good), dict.fromkeys(good, 0), False, False, True
    for look, level in zip(LOOKS, levels(LOOKS, LOOKS[-1], arms=len(arms)), strict=True):
        seeds |= dict.fromkeys(left, look)
        made = {name: arms[int(name)][1][: seeds[name]] for name in good}
        found = all_pairs(spread_of([*made.values()]), level=level, draws=2000, seed=seed)
        pairs = [
            Pair(str(a), str(b), *map(float, rest))
            for a, b, *rest in zip(
                *(found.first, found.second, found.difference, found.low, found.high),
                found.p_adjusted,
                strict=True,
            )
        ]
        decision = decide(pairs, left, level=level, margin=0.1)
        apart |= bool(decision.out)
        false |= any(good[worse] == good[better] for worse, better in decision.out.items())
        held = all(pair.low <= good[pair.a] - good[pair.b] <= pair.high for pair in pairs)
        left = decision.left
        if decision.is_over:
            break
    best = max(left, key=lambda name: float(made[name].mean()))
    headline = t_interval(made[best], level=0.95 ** (1 / len(arms)))
    assert headline is not None
    return apart, false, held, headline.low <= good[best] <= headline.high


def main() -> None:
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=at_least(1), default=2000, help="of each figure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--looks", action="store_true", help="the last table only")
    options = parser.parse_args()
    studies, seed = options.studies, options.seed
    if not options.looks:
        at_once(studies, seed)
    looks(studies, seed)


def at_once(studies: int, seed: int) -> None:
    """Print the tables of arms that are compared once."""
    reused = [f"{count} of them, {much:g}" if count else "none" for count, much in REUSED]
    print(f"{studies} studies a figure; columns: tuning seeds that are compared, correlation\n")
    print(f"| trials | runs | {' | '.join(reused)} |\n| --- | --- |{' --- |' * len(reused)}")
    for trials in TRIALS:
        for runs in RUNS:
            row = [
                false(
                    *(studies, seed, trials, runs),
                    tuning_seeds=count or 1,
                    correlation=much,
                    reused=count > 0,
                )
                for count, much in REUSED
            ]
            print(f"| {trials[0]}, {trials[1]} | {runs} | {' | '.join(row)} |", flush=True)
    print("\n| settings differ by | tuning seeds | 3 runs | 5 runs | 10 runs |")
    print(f"|{' --- |' * 5}")
    for settings in (0.0, 0.5, 1.0, 3.0):
        for count in (1, 3, 10):
            row = [
                false(
                    *(studies, seed, (6, 6), runs),
                    tuning_seeds=count,
                    correlation=0.9,
                    settings=settings,
                )
                for runs in RUNS
            ]
            print(f"| {settings:g} | {count} | {' | '.join(row)} |", flush=True)


def looks(studies: int, seed: int) -> None:
    """Print the table of arms that are looked at until the study stops."""
    print("\n| arms | settings differ by | tuning seeds | apart | false | intervals | headline |")
    print(f"|{' --- |' * 7}")
    for arms in (2, 4):
        for settings, count in ((0.0, 1), (0.5, 1), (0.5, 10), (1.0, 1), (1.0, 3), (1.0, 10)):
            rng = np.random.default_rng(seed)
            outcomes = []
            for study in range(studies):
                how = {"tuning_seeds": count, "correlation": 0.9, "settings": settings}
                found = tuned(rng, (6,) * arms, LOOKS[-1], **how)  # type: ignore[arg-type]
                outcomes.append(looked_at(found, study))
            shares = " | ".join(f"{share:.1%}" for share in np.mean(outcomes, axis=0))
            print(f"| {arms} | {settings:g} | {count} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
