"""What follows from a look: who leaves, and when there is nothing left to find."""

import numpy as np
import pytest

from adapterlab.evidence.intervals import Interval
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.verdicts import Comparison, Verdict
from adapterlab.studies.deciding import all_comparisons, decide, other_examples


def pair(a: str, b: str, difference: float, p: float | None, verdict: Verdict) -> Comparison:
    around = Interval(difference - 0.01, difference + 0.01)
    return Comparison(a, b, difference, around, p, p, None, (5, 5), verdict)


def test_an_arm_that_is_worse_leaves_and_the_rest_are_undecided() -> None:
    pairs = [
        pair("a", "b", 0.03, 0.001, Verdict.BETTER),
        pair("a", "c", 0.005, 0.5, Verdict.UNDECIDED),
        pair("b", "c", -0.05, 0.002, Verdict.WORSE),
    ]
    decision = decide(pairs, ["a", "b", "c"], level=0.01)
    assert decision.out == {"b": "c"}  # by which it is worse most
    assert decision.left == ("a", "c")
    assert decision.undecided == 1
    assert not decision.is_over
    assert decide(pairs, ["a", "b", "c"], level=0.0015).out == {"b": "a"}
    assert decide(pairs, ["a", "b", "c"], level=0.0005).out == {}


@pytest.mark.parametrize(
    ("verdict", "p", "over"),
    [
        (Verdict.BETTER, 0.001, True),
        (Verdict.WORSE, 0.001, True),
        (Verdict.EQUIVALENT, 0.8, True),
        (Verdict.NOT_WORSE, 0.3, False),
        (Verdict.UNDECIDED, 0.3, False),
        (Verdict.BETTER, 0.3, False),  # an interval of few draws, and a level below them
        (Verdict.TOO_FEW_SEEDS, None, False),
    ],
)
def test_when_there_is_nothing_left_to_find(verdict: Verdict, p: float | None, over: bool) -> None:
    assert decide([pair("a", "b", 0.1, p, verdict)], ["a", "b"], level=0.01).is_over == over


def test_arms_that_have_left_are_not_judged_again_nor_judge() -> None:
    pairs = [
        pair("gone", "a", -0.3, 1e-9, Verdict.WORSE),
        pair("gone", "b", 0.3, 1e-9, Verdict.BETTER),
        pair("a", "b", 0.0, 1.0, Verdict.UNDECIDED),
    ]
    decision = decide(pairs, ["a", "b"], level=0.05)
    assert decision.out == {}
    assert decision.left == ("a", "b")
    assert decision.undecided == 1


def test_one_arm_has_nothing_to_be_compared_with() -> None:
    alone = Replicates("a", (0, 1, 2), np.ones((3, 10), dtype=bool))
    assert decide(all_comparisons([alone], 0.05, 0.005), ["a"], level=0.05).is_over


def test_arms_are_compared_as_in_the_report() -> None:
    rng = np.random.default_rng(0)
    arms = [
        Replicates(name, tuple(range(5)), rng.random((5, 1000)) < accuracy)
        for name, accuracy in (("low", 0.8), ("high", 0.9), ("also high", 0.9))
    ]
    decision = decide(all_comparisons(arms, 0.01, 0.005), [a.name for a in arms], level=0.01)
    assert list(decision.out) == ["low"]
    assert decision.left == ("high", "also high")
    wide = decide(all_comparisons(arms, 0.01, 0.2), [a.name for a in arms], level=0.01)
    assert wide.is_over


def test_other_examples_are_noticed() -> None:
    labels = np.array([0, 1, 2])
    assert other_examples({"a": labels, "b": labels.copy()}) is None
    assert other_examples({"a": labels, "b": labels[:2]}) == "b"
    assert other_examples({"a": labels, "b": labels, "c": labels[::-1]}) == "c"
