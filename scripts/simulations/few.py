"""How often verdicts on very few test examples are false: not simulated, but counted out.

    python scripts/simulations/few.py       a few minutes

Two arms of three runs, all alike, so that only test examples decide. On a share of the examples
one arm is right and the other wrong, which of them by a fair coin: 1 where each says one of two
equally likely classes throughout, 0.5 where their guesses have nothing in common. *Told apart*, and
*one left out* of those that may be best, which may be the first or the second.
"""

import numpy as np
from scipy import stats

from adapterlab.app.script_options import Parser
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.verdicts import Verdict, compare_all

EXAMPLES = (2, 3, 4, 5, 7, 10, 13, 16, 20, 25, 30, 50)
SHARES = (1.0, 0.5, 0.2)


def said(examples: int, first: int, second: int) -> tuple[bool, bool]:
    """Say whether arms that are right alone so often are told apart, and one is left out."""
    right = np.zeros((2, examples), dtype=np.bool_)
    right[0, :first] = right[1, first : first + second] = True
    arms = [Replicates(str(n), (0, 1, 2), np.tile(one, (3, 1))) for n, one in enumerate(right)]
    family = compare_all(arms, draws=4000)
    apart = family.verdict("0", "1") in (Verdict.BETTER, Verdict.WORSE)
    return apart, not all(family.may_be_best.values())


def main() -> None:
    Parser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    columns = [f"{share:g}: told apart, one left out" for share in SHARES]
    print(f"| test examples | {' | '.join(columns)} |\n|{' --- |' * (1 + len(SHARES))}")
    for examples in EXAMPLES:
        pairs = [(a, n - a) for n in range(examples + 1) for a in range(n + 1)]
        found = np.array([said(examples, *pair) for pair in pairs])
        a, n = np.array(pairs).T[0], np.array(pairs).sum(axis=1)
        row = []
        for share in SHARES:
            weights = stats.binom.pmf(n, examples, share) * stats.binom.pmf(a, n, 0.5)
            row.append(", ".join(f"{chance:.1%}" for chance in weights @ found))
        print(f"| {examples} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
