"""Which arms were tested on the same examples, as far as that is known."""

from dataclasses import replace

import pytest
from synthetic import Made, study

from adapterlab.evidence.verdicts import Verdict
from adapterlab.reporting.comparing.compare import Candidate, judge
from adapterlab.reporting.findings import Findings, Question


def judged(
    examples: dict[str, str], reference: str | None = None, *, planned: bool = False
) -> Findings:
    """Judge arms that were tested on what is said of each: a hash and labels, or labels alone.

    Of one of which nothing is said, no answers were kept.
    """
    arms = study(*(Made(name, 0.8) for name in examples)).arms
    read = [
        Candidate(
            replace(arm, comparison=None, letters="", may_be_best=None),
            arm.answers.correct if examples[arm.name] else None,  # type: ignore[union-attr]
            examples[arm.name],
            "" if examples[arm.name] else "no predictions",
        )
        for arm in arms
    ]
    question = Question(reference=reference, planned=planned)
    return judge("s", read, question, selected_on="accuracy")


def apart(findings: Findings) -> set[str]:
    return {
        arm.name
        for arm in findings.others
        if arm.comparison and arm.comparison.verdict is Verdict.NOT_COMPARABLE
    }


def test_runs_from_before_there_was_a_hash_count_by_their_labels() -> None:
    same = {"full": "abc 300 x", "head": " 300 x", "lora": "abc 300 x"}
    assert apart(judged(same)) == set()
    assert apart(judged(same, "head")) == set()
    assert apart(judged({"full": " 300 x", "head": " 300 x"})) == set()
    older_leads = judged({"full": " 300 x", "head": "abc 300 x", "lora": "abc 300 x"})
    assert older_leads.reference.name == "full"
    assert apart(older_leads) == set()


def test_other_hashes_and_other_labels_are_apart() -> None:
    assert apart(judged({"full": "abc 300 x", "head": "def 300 x", "lora": "abc 300 x"})) == {
        "head"
    }
    assert apart(judged({"full": "abc 300 x", "head": " 300 y", "lora": "abc 300 x"})) == {"head"}


@pytest.mark.parametrize("reference", ["full", "old"])
def test_of_several_the_examples_of_most_arms_are_those_of_an_older_arm(reference: str) -> None:
    found = judged(
        {"full": "abc 300 x", "head": "def 300 x", "lora": "abc 300 x", "old": " 300 x"}, reference
    )
    assert apart(found) == {"head"}


def test_arms_are_not_thrown_together_by_a_reference_without_answers() -> None:
    kinds = {"full": "", "head": "def 300 x", "lora": "abc 300 x", "dora": "abc 300 x"}
    found = judged(kinds, "full")
    assert found.family is not None
    assert {arm.name for arm in found.family.arms} == {"lora", "dora"}
    assert found.gaps == (
        "full is compared with no arm: no predictions",
        "head was tested on other examples, or other classes (300 examples), than the arms that "
        "are compared (300), so it is not comparable",
    )
    planned = judged(kinds, "full", planned=True)
    assert (planned.family, apart(planned)) == (None, {"head", "lora", "dora"})
