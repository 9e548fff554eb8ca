"""What follows from a look: who leaves, and when there is nothing left to find."""

import numpy as np
import pytest

from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.verdicts import Verdict, compare_all
from adapterlab.studies.sequential.stopping import Examples, Pair, compared, decide, other_examples


def pair(a: str, b: str, low: float, high: float, p: float) -> Pair:
    return Pair(a, b, (low + high) / 2, low, high, p)


def test_an_arm_that_is_worse_leaves_and_the_rest_are_undecided() -> None:
    pairs = [
        pair("a", "b", 0.01, 0.05, 0.001),
        pair("a", "c", -0.02, 0.03, 0.5),
        pair("b", "c", -0.09, -0.01, 0.002),
    ]
    decision = decide(pairs, ["a", "b", "c"], level=0.01, margin=0.005)
    assert decision.out == {"b": "c"}  # by which it is worse most
    assert decision.left == ("a", "c")
    assert decision.undecided == 1
    assert not decision.is_over
    assert decide(pairs, ["a", "b", "c"], level=0.0015, margin=0.005).out == {"b": "a"}
    assert decide(pairs, ["a", "b", "c"], level=0.0005, margin=0.005).out == {}


@pytest.mark.parametrize(
    ("low", "high", "p", "over"),
    [
        (0.01, 0.05, 0.001, True),
        (-0.05, -0.01, 0.001, True),
        (-0.004, 0.003, 0.8, True),
        (-0.006, 0.003, 0.8, False),
        (-0.004, 0.02, 0.3, False),
        (0.01, 0.05, 0.02, False),  # an interval of few draws, at a level below them
    ],
)
def test_when_there_is_nothing_left_to_find(low: float, high: float, p: float, over: bool) -> None:
    decision = decide([pair("a", "b", low, high, p)], ["a", "b"], level=0.01, margin=0.005)
    assert decision.is_over == over


def test_arms_that_have_left_are_not_judged_again_nor_judge() -> None:
    pairs = [
        pair("gone", "a", -0.5, -0.1, 1e-9),
        pair("gone", "b", 0.1, 0.5, 1e-9),
        pair("a", "b", -0.1, 0.1, 1.0),
    ]
    decision = decide(pairs, ["a", "b"], level=0.05, margin=0.005)
    assert decision.out == {}
    assert decision.left == ("a", "b")
    assert decision.undecided == 1


def test_one_arm_has_nothing_to_be_compared_with() -> None:
    alone = Replicates("a", (0, 1, 2), np.ones((3, 10), dtype=bool))
    assert decide(compared([alone], 0.05), ["a"], level=0.05, margin=0.005).is_over


def test_arms_are_compared_as_in_the_report() -> None:
    rng = np.random.default_rng(0)
    arms = [
        Replicates(name, tuple(range(5)), rng.random((5, 1000)) < accuracy)
        for name, accuracy in (("low", 0.8), ("high", 0.9), ("also high", 0.9))
    ]
    names = [arm.name for arm in arms]
    pairs, family = compared(arms, 0.01), compare_all(arms, level=0.01)
    for found in pairs:
        reported = family.compare(found.a, found.b)
        assert reported.interval is not None
        assert (found.difference, found.p_adjusted) == (reported.difference, reported.p_adjusted)
        assert (found.low, found.high) == (reported.interval.low, reported.interval.high)
    decision = decide(pairs, names, level=0.01, margin=0.005)
    assert list(decision.out) == ["low"]
    assert decision.left == ("high", "also high")
    assert family.compare("low", "high").verdict is Verdict.WORSE
    assert decide(pairs, names, level=0.01, margin=0.2).is_over


def test_arms_of_equal_answers_have_nothing_to_find() -> None:
    answers = np.random.default_rng(0).random((3, 96)) < 0.25
    arms = [Replicates(name, (0, 1, 2), answers) for name in "ab"]
    decision = decide(compared(arms, 0.025), ["a", "b"], level=0.025, margin=0.005)
    assert decision.left == ("a", "b")


def test_other_examples_are_noticed() -> None:
    labels = np.array([0, 1, 2])
    first = Examples(labels, "e")
    assert other_examples({"a": first, "b": Examples(labels.copy(), "e")}) is None
    assert (
        other_examples({"a": first, "b": Examples(labels)}) is None
    )  # of before there were hashes
    assert other_examples({"a": first, "b": Examples(labels[:2])}) == "b"
    assert other_examples({"a": first, "b": first, "c": Examples(labels[::-1])}) == "c"
    assert other_examples({"a": first, "b": Examples(labels, "other")}) == "b"
