"""What stopping tuning runs early does to the rate that is chosen, and to verdicts on tuned arms.

    python scripts/simulations/pruned.py                 all rows, ten minutes
    python scripts/simulations/pruned.py --studies 100   a first impression

Two arms try twelve rates for twelve epochs, four at a time, and the pruner that judges them is the
sweeper's own. In the end both arms are equally good at their best rate, and a rate that is k steps
beside it is 0.3 k² deviations of a run below. The curves of *even* arms are of one shape at all
rates; in *slow* ones the lower rates take longer to come near, so that at first higher ones are
ahead. With the rate that is chosen, five further runs of each arm are compared. *Changed*: arms
with another rate than without a pruner; *worse by*: the mean of what is lost at the chosen rate
against the best, in deviations of a run; *apart*: studies that tell the two equal arms apart.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from unequal import told_apart

from adapterlab.app.script_options import Parser, at_least
from adapterlab.config.bookkeeping import TrialPruner
from adapterlab.runs.trial_pruner import Rivals, Standpoint

Array = npt.NDArray[np.float64]

RATES, EPOCHS, LANES, RUNS, BEST = 12, 12, 4, 5, 5
EPOCH_LUCK = 0.3
"""Deviation of an epoch's score about the run's, in deviations of a run."""

PRUNERS: dict[str, tuple[Any, dict[str, int]] | None] = {
    "none": None,
    "median": ("median", {}),
    "median, n_warmup_steps 6": ("median", {"n_warmup_steps": 6}),
    "successive_halving": ("successive_halving", {}),
    "successive_halving, min_resource 6": ("successive_halving", {"min_resource": 6}),
}


def curves(rng: np.random.Generator, *, slow: bool) -> tuple[Array, Array]:
    """Return how good each rate is in the end, ``[R]``, and validation by epoch, ``[R, E]``."""
    places = np.arange(RATES)
    good = -0.3 * np.square(places - BEST)
    pace = np.where(slow, 0.5 + 3.0 * (RATES - 1 - places) / RATES, 2.0)
    climb = -20.0 * np.exp(-np.arange(1, EPOCHS + 1) / pace[:, None])
    luck = rng.standard_normal((RATES, 1)) + EPOCH_LUCK * rng.standard_normal((RATES, EPOCHS))
    return good, good[:, None] + climb + luck


def chosen(validation: Array, pruner: str, order: list[int], folder: Path) -> int:
    """Return the rate that is chosen, by the best epoch of the runs that were not stopped."""
    rule = PRUNERS[pruner]
    finished = list(order)
    if rule is not None:
        asked = TrialPruner(rule=rule[0], options=rule[1], among="arm", lanes=LANES)
        rivals = Rivals(folder / "arm.jsonl", asked, "accuracy", "")
        waiting, going, finished = list(order), dict[int, int](), []
        while waiting or going:
            while waiting and len(going) < LANES:
                going[waiting.pop(0)] = 0
            going = {rate: epoch + 1 for rate, epoch in going.items()}
            stood = [
                Standpoint(
                    str(rate),
                    {e + 1: float(validation[rate, e]) for e in range(epoch)},
                    over=epoch == EPOCHS,
                )
                for rate, epoch in going.items()
            ]
            stopped = rivals.judge(stood)
            finished += [r for r, e in going.items() if e == EPOCHS and str(r) not in stopped]
            going = {r: e for r, e in going.items() if e < EPOCHS and str(r) not in stopped}
    return max(sorted(finished), key=lambda rate: float(validation[rate].max()))


def main() -> None:
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=at_least(1), default=400, help="of each row")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{options.studies} studies a row\n\n| arms | pruner | changed | worse by | apart |")
    print(f"|{' --- |' * 5}", flush=True)
    for slow in ((False, False), (True, True), (True, False)):
        for pruner in PRUNERS:
            rng = np.random.default_rng(options.seed)
            changed, lost, apart = 0, 0.0, 0
            for study in range(options.studies):
                scores = []
                for one in slow:
                    good, validation = curves(rng, slow=one)
                    order = [int(rate) for rate in rng.permutation(RATES)]
                    with TemporaryDirectory() as folder:
                        rate = chosen(validation, pruner, order, Path(folder))
                        changed += rate != chosen(validation, "none", order, Path(folder))
                    lost += float(good.max() - good[rate])
                    scores.append(good[rate] + rng.standard_normal(RUNS))
                apart += told_apart(scores, 0.05, study)
            arms = " and ".join("slow" if one else "even" for one in slow)
            count = 2 * options.studies
            print(
                f"| {arms} | {pruner} | {changed / count:.0%} | {lost / count:.2f} | "
                f"{apart / options.studies:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
