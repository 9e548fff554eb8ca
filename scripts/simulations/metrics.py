"""How often verdicts on other metrics are false, and how often their intervals hold.

    python scripts/simulations/metrics.py                 all rows, half an hour
    python scripts/simulations/metrics.py --studies 100   a first impression

Three arms on one test split, of 5 runs each, or of which one lacks a run and another two. Classes:
a share of the logits' luck is each example's for all arms, another an arm's, another a run's; in
*ties* logits are whole numbers. Numbers: what is said is off by such luck, in *ties* both sides are
rounded. *False*: some two of equal arms are told apart. *Differences hold*: all intervals of
differences do, where the first arm is worse. *Interval holds*: that of the first and of the third
arm by itself. The truth is the score of 150 runs on 8,000 examples of the same shares.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adapterlab.app.script_options import Parser, at_least
from adapterlab.config.tasks import Task
from adapterlab.evidence.all_metrics import contributions_of, higher_is_better
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.score_intervals import heaviest_weight, score_interval
from adapterlab.evidence.verdicts import compare_all

Array = npt.NDArray[np.float64]

DESIGNS = ((5, 5, 5), (5, 4, 3))
WORSE = (0.8, 1.0, 1.0)
OF_CLASSES = ("accuracy", "macro_f1", "balanced_accuracy", "mcc", "auroc", "ece", "brier")
OF_NUMBERS = ("r2", "rmse", "mae", "pearson", "spearman")


@dataclass(frozen=True)
class World:
    """Test splits of a kind.

    Attributes:
        name: in words.
        counts: test examples of each class; one number of numbers.
        ties: whether what is said is rounded.
    """

    name: str
    counts: tuple[int, ...]
    ties: bool = False

    @property
    def task(self) -> Task:
        """What is learnt."""
        return "regression" if len(self.counts) == 1 else "single_label"

    @property
    def metrics(self) -> tuple[str, ...]:
        """That are compared."""
        return OF_CLASSES if len(self.counts) > 1 else OF_NUMBERS

    def labels(self, rng: np.random.Generator, times: int = 1) -> npt.NDArray[Any]:
        """Return true classes or numbers of a split, or of one so many times as large."""
        if len(self.counts) > 1:
            return np.repeat(np.arange(len(self.counts)), np.array(self.counts) * times)
        drawn = rng.standard_normal(self.counts[0] * times)
        return np.round(2 * drawn) / 2 if self.ties else drawn

    def said(
        self,
        rng: np.random.Generator,
        labels: npt.NDArray[Any],
        runs: tuple[int, ...],
        strength: tuple[float, ...],
    ) -> list[list[Array]]:
        """Return what each run of each arm says."""
        classes = len(self.counts)
        numbers = classes == 1
        right = labels[:, None] if numbers else 2.0 * np.eye(classes)[labels]
        easy = rng.standard_normal(right.shape)
        made = []
        for count, strong in zip(runs, strength, strict=True):
            of_arm = 0.5 * rng.standard_normal(right.shape)
            arm = []
            for _ in range(count):
                luck = 0.15 * rng.standard_normal((1, classes))
                own = luck + 0.5 * rng.standard_normal(right.shape)
                logits = strong * (1 + luck.mean()) * right + 0.7 * easy + of_arm + own
                said = np.round(logits) if self.ties else logits
                arm.append(said[:, 0] if numbers else said)
            made.append(arm)
        return made


WORLDS = (
    World("two classes, 150 each, ties", (150, 150), ties=True),
    World("four classes, 100 each", (100,) * 4),
    World("100, 100, 97 and 3", (100, 100, 97, 3)),
    World("100, 100, 100 and none", (100, 100, 100, 0)),
    World("numbers, 30", (30,)),
    World("numbers, 300", (300,)),
    World("numbers, 300, ties", (300,), ties=True),
)


def values(world: World, metric: str, said: list[Array], labels: npt.NDArray[Any]) -> Array:
    """Return the contributions of an arm's runs, ``[S, N]``."""
    names = [f"class {number}" for number in range(len(world.counts))]
    return np.stack([contributions_of(world.task, metric, one, labels, names) for one in said])


def truths(world: World, seed: int) -> dict[str, tuple[float, float]]:
    """Return by metric the score of a worse arm and of one that is as good as the others."""
    rng = np.random.default_rng([seed, 1])
    found: dict[str, list[Array]] = {metric: [] for metric in world.metrics}
    for _ in range(150):
        labels = world.labels(rng, times=max(8_000 // sum(world.counts), 1))
        arms = world.said(rng, labels, (1, 1), WORSE[:2])
        for metric, scores in found.items():
            scores.append(np.array([values(world, metric, arm, labels).mean() for arm in arms]))
    return {metric: (*map(float, np.mean(each, axis=0)),) for metric, each in found.items()}  # type: ignore[misc]


def simulate(
    world: World,
    runs: tuple[int, ...],
    true: dict[str, tuple[float, float]],
    studies: int,
    seed: int,
) -> dict[str, npt.NDArray[np.float64]]:
    """Return by metric the shares of studies: false, differences hold, intervals hold."""
    rng = np.random.default_rng([seed, len(world.counts), sum(runs)])
    found = {metric: np.zeros(4) for metric in world.metrics}
    names = tuple(f"class {number}" for number in range(len(world.counts)))
    for study in range(studies):
        labels = world.labels(rng)
        equal = world.said(rng, labels, runs, (1.0,) * 3)
        unequal = world.said(rng, labels, runs, WORSE)
        for metric, counted in found.items():
            families = []
            for arms in (equal, unequal):
                made = [
                    Replicates(str(n), tuple(range(len(arm))), values(world, metric, arm, labels))
                    for n, arm in enumerate(arms)
                ]
                better = higher_is_better(metric)
                families.append(compare_all(made, higher_is_better=better, draws=1000, seed=study))
            worse, good = true[metric]
            pairs, others = (family.pairs for family in families)
            assert pairs is not None
            assert others is not None
            at = np.array([worse, good, good])
            differences = at[others.first] - at[others.second]
            heaviest = heaviest_weight(metric, labels, names)
            held = []
            for arm in (0, 2):
                one = families[0].arms[arm].values
                interval = score_interval(metric, one, heaviest=heaviest)
                held.append(interval is not None and interval.low <= good <= interval.high)
            counted += (
                bool(((pairs.low > 0) | (pairs.high < 0)).any()),
                bool(((others.low <= differences) & (differences <= others.high)).all()),
                *held,
            )
    return {metric: counted / studies for metric, counted in found.items()}


def main() -> None:
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=at_least(1), default=500, help="of each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--like", default="", help="a part of the name of a test split")
    options = parser.parse_args()
    worlds = [one for one in WORLDS if options.like in one.name]
    if not worlds:
        names = "; ".join(one.name for one in WORLDS)
        parser.error(f"--like: {options.like} is in the name of no test split; allowed: {names}")
    print(f"{options.studies} studies a row\n")
    print("| test split | runs | metric | false | differences hold | interval holds |")
    print(f"|{' --- |' * 6}", flush=True)
    for world in worlds:
        true = truths(world, options.seed)
        for runs in DESIGNS:
            found = simulate(world, runs, true, options.studies, options.seed)
            for metric, shares in found.items():
                false, differences, first, third = (f"{share:.1%}" for share in shares)
                print(
                    f"| {world.name} | {', '.join(map(str, runs))} | {metric} | {false} | "
                    f"{differences} | {first}, {third} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
