"""How often equal arms are told apart after each was tuned on validation.

    python scripts/simulations/tuned.py                 all rows, ten minutes
    python scripts/simulations/tuned.py --studies 300   a first impression

A run's luck has a deviation of 1, on test and on validation, with a correlation between the two.
First, all settings are equally good: two arms of so many trials, compared on seeds of their own, or
on seeds that they were tuned with. A setting was chosen for the luck of its run, so where that run
is compared, too, the arm that tried more has more of it. Then settings differ, in the same way for
both arms, by so many deviations, and each arm is run with what its tuning runs chose: arms that are
told apart differ, but by what was chosen, not by what they are.
"""

import argparse

import numpy as np
import numpy.typing as npt
from arguments import at_least
from unequal import told_apart

TRIALS = [(12, 12), (12, 3), (12, 1)]
REUSED = [(0, 0.9), (1, 0.3), (1, 0.9), (3, 0.3), (3, 0.9)]
"""Tuning seeds that are compared as well, and the correlation of validation and test."""

RUNS = (3, 5, 10)


def scores(
    rng: np.random.Generator,
    trials: tuple[int, ...],
    runs: int,
    *,
    tuning_seeds: int,
    correlation: float,
    settings: float = 0.0,
    reused: bool = False,
) -> list[npt.NDArray[np.float64]]:
    """Return the test scores of the runs of each arm, after it was tuned.

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
        made.append(good[chosen] + compared)
    return made


def false(studies: int, seed: int, trials: tuple[int, ...], runs: int, **how: float | bool) -> str:
    """Return the share of studies in which two arms are told apart."""
    rng = np.random.default_rng(seed)
    found = sum(
        told_apart(scores(rng, trials, runs, **how), 0.05, study)  # type: ignore[arg-type]
        for study in range(studies)
    )
    return f"{found / studies:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=at_least(1), default=2000, help="of each figure")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    studies, seed = options.studies, options.seed
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


if __name__ == "__main__":
    main()
