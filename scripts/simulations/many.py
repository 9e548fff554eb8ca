"""Whether all that a report says of many arms is true at once, and never contradicts itself.

    python scripts/simulations/many.py                                all, an hour
    python scripts/simulations/many.py --arms 36 --studies 20         a first impression

Answers are those of `verdicts.py`: 1,000 test examples, shared by all arms, 85% right. *False*: of
arms that are all as good, some two are told apart; of two runs an arm, some trained model is said
to differ, though none has luck of its own. *Best kept*: the one best arm, which the others are up
to 3 points below, is among those that may be best, of which there are so many (*may be best*).
*Contradictions*: pairs, in both kinds of studies, of which verdict, interval, adjusted p and
letters do not say the same, or of which the worse arm may be the best.
"""

from itertools import combinations

import numpy as np
from verdicts import Cell, answers, worse

from adapterlab.app.script_options import Parser, at_least
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.verdicts import MIN_SEEDS, Family, Verdict, compare_all

TOLD = {Verdict.BETTER, Verdict.WORSE}
AS_TRAINED = {Verdict.TRAINED_BETTER, Verdict.TRAINED_WORSE}


def contradictions(family: Family) -> int:
    """Count pairs of which not all that is said agrees."""
    pairs, names = family.pairs, [arm.name for arm in family.arms]
    if pairs is None:
        return sum(map(bool, family.letters.values()))
    found = 0
    for m, (i, j) in enumerate(zip(pairs.first, pairs.second, strict=True)):
        a, b = names[i], names[j]
        verdict = family.verdict(a, b)
        apart = verdict in TOLD
        lesser = a if verdict is Verdict.WORSE else b
        found += not (
            apart == bool(pairs.low[m] > 0 or pairs.high[m] < 0)
            and apart == bool(pairs.p_adjusted[m] <= family.level)
            and apart != bool(set(family.letters[a]) & set(family.letters[b]))
            and not (apart and family.may_be_best[lesser])
        )
    return found


def simulate(cell: Cell, studies: int, seed: int) -> tuple[float, float, float, int]:
    """Return the shares of false studies and of those that keep the best, and the other counts."""
    rng = np.random.default_rng([seed, cell.arms, cell.runs])
    names, replicates = [str(arm) for arm in range(cell.arms)], tuple(range(cell.runs))
    false, kept, size, against = 0, 0, 0, 0
    for study in range(studies):
        made = answers(cell, rng)
        equal = compare_all(
            [Replicates(n, replicates, a) for n, a in zip(names, made, strict=True)], seed=study
        )
        looked_for = TOLD if cell.runs >= MIN_SEEDS else AS_TRAINED
        false += any(equal.verdict(a, b) in looked_for for a, b in combinations(names, 2))
        drops = 0.03 * np.arange(cell.arms) / (cell.arms - 1)
        made = [worse(a, drop, rng) if drop else a for a, drop in zip(made, drops, strict=True)]
        graded = compare_all(
            [Replicates(n, replicates, a) for n, a in zip(names, made, strict=True)], seed=study
        )
        kept += graded.may_be_best["0"] is True
        size += sum(map(bool, graded.may_be_best.values()))
        against += contradictions(equal) + contradictions(graded)
    return false / studies, kept / studies, size / studies, against


def main() -> None:
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=at_least(1), default=200, help="of each row")
    parser.add_argument("--arms", type=at_least(2), nargs="+", default=[36, 100])
    parser.add_argument("--runs", type=at_least(2), nargs="+", default=[2, 3, 5])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{options.studies} studies a row\n")
    print("| arms | runs | luck | false | best kept | may be best | contradictions |")
    print(f"|{' --- |' * 7}", flush=True)
    for arms in options.arms:
        for runs in options.runs:
            for luck in (0.0, 0.05) if runs >= MIN_SEEDS else (0.0,):
                cell = Cell(arms, runs, 1000, 0.85, luck, 1.0)
                false, kept, size, against = simulate(cell, options.studies, options.seed)
                best = f"{kept:.1%} | {size:.1f}" if runs >= MIN_SEEDS else "not said | not said"
                print(
                    f"| {arms} | {runs} | {luck:g} | {false:.1%} | {best} | {against} |", flush=True
                )


if __name__ == "__main__":
    main()
