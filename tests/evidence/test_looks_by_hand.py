"""What reports after one another may test at, by what is added between them."""

import numpy as np
import pytest
from scipy import stats

from adapterlab.evidence.looks import Look, next_look
from adapterlab.evidence.sequential import levels


def looks(*seeds: list[int], most: int | None = None) -> list[tuple[Look, str | None]]:
    made: list[tuple[Look, str | None]] = []
    for now in seeds:
        made.append(next_look([look for look, _ in made], now, most=most))
    return made


def test_a_study_that_is_looked_at_once_has_the_whole_level() -> None:
    for seeds in ([5, 5], [1, 5]):
        ((look, said),) = looks(seeds)
        assert look == Look(tuple(sorted(seeds, reverse=True)), 0.05)
        assert said is None


def test_planned_looks_have_their_levels_and_say_so() -> None:
    made = looks([3, 3, 3], [5, 5, 3], [8, 8, 3], most=20)
    assert [look.level for look, _ in made] == levels([3, 5, 8], 20, arms=3)
    assert made[2][1] == (
        "Look 3 of a study that may have 20 seeds an arm (so far 3, 5 and 8 seeds an arm): "
        "differences are tested at 1.1%, so that all looks together keep 5%. An arm of which only "
        "later seeds are missing has left, since a look found it worse: it left when it looked "
        "worst, so it is a little better than its mean."
    )
    assert "missing" not in str(looks([3, 3, 3], [5, 5, 5], most=20)[1][1])


def test_an_unplanned_look_counts() -> None:
    planned = looks([3, 3], [5, 5], [8, 8], most=20)
    between = looks([3, 3], [4, 4], [5, 5], [8, 8], most=20)
    assert between[-1][0].level < planned[-1][0].level


def test_the_same_seeds_are_the_same_look() -> None:
    for most in (None, 20):
        made = looks([3, 3], [5, 5], [5, 5], [5, 4], most=most)
        assert len({look.level for look, _ in made[1:]}) == 1
        assert made[1][1] == made[2][1]


@pytest.mark.parametrize("few", [1, 2])
def test_too_few_seeds_are_no_look_since_nothing_is_tested(few: int) -> None:
    (_, first), (second, said) = looks([few, 1], [5, 5])
    assert first is said is None
    assert second.level == 0.05


def test_an_arm_of_which_no_run_has_finished_is_none() -> None:
    ((look, _), (again, _)) = looks([3, 0, 3], [3, 3])
    assert look == again == Look((3, 3), 0.05)
    ((nothing, said),) = looks([0, 0])
    assert nothing == Look((), 0.05)
    assert said is None


def test_seeds_added_by_hand_are_said_with_what_they_cost() -> None:
    (first, nothing), (second, said) = looks([3, 3], [5, 5])
    assert nothing is None
    assert first.level == 0.05
    assert second.level == levels([3, 5], 3)[1] == pytest.approx(0.0396, abs=1e-4)
    assert said == (
        "Seeds were added after the first look (looks at 3 and 5 seeds an arm): differences are "
        "tested at 4%, and the chance of a false one in any of these looks is up to 7.5%, not "
        "5%. Plan looks beforehand (hydra/sweeper=sequential) to keep 5%."
    )
    beyond = looks([3, 3], [20, 20], [25, 25], most=20)[-1][1]
    assert beyond is not None
    assert beyond.startswith("Seeds were added after the plan of 20 seeds an arm (looks at 3, 20 ")


@pytest.mark.parametrize(("seeds", "most"), [([], None), ([3, -1], 5), ([3], 2)])
def test_what_is_no_look(seeds: list[int], most: int | None) -> None:
    with pytest.raises(ValueError, match="expected arms, and a plan of at least 3"):
        next_look([], seeds, most=most)


def test_an_arm_that_catches_up_makes_new_looks() -> None:
    """Nothing was said, and each look was at 5%, while the largest arm had no more seeds."""
    made = looks([20, 3], [20, 5], [20, 8])
    assert [look.level for look, _ in made] == pytest.approx(levels([3, 5, 8], 3))
    assert made[2][1] == (
        "Seeds were added after the first look (3 looks, with 20 seeds in the arm that has most): "
        "differences are tested at 2.5%, and the chance of a false one in any of these looks is up "
        "to 8.8%, not 5%. Plan looks beforehand (hydra/sweeper=sequential) to keep 5%."
    )
    assert looks([20, 3], [20, 5], [20, 5])[2] == made[1]
    assert looks([20, 3], [20, 5], [20, 4])[2][0].level == made[1][0].level


def test_an_arm_that_catches_up_is_beyond_the_plan() -> None:
    (first, _), (second, said), (third, _) = looks([5, 5, 3], [5, 5, 5], [8, 8, 8], most=20)
    assert second.level > first.level > third.level
    assert said is not None
    assert said.startswith("Seeds were added after the plan of 20 seeds an arm (2 looks, with 5 ")


def test_a_run_that_failed_and_was_repeated_costs_little() -> None:
    _, (again, said) = looks([5, 5, 4], [5, 5, 5])
    assert 0.03 < again.level < 0.05
    assert said is not None


def test_seeds_of_arms_that_catch_up_keep_what_is_said() -> None:
    """Two arms of normal scores with a known spread, one of 20 seeds, tested again and again."""
    counts = [3, 5, 8, 10, 15, 20]
    made = [look for look, _ in looks(*([20, n] for n in counts))]
    rng = np.random.default_rng(0)
    means = np.cumsum(rng.standard_normal((40_000, 20)), axis=1) / np.arange(1, 21)
    other = rng.standard_normal(40_000) / np.sqrt(20)
    p = np.array([
        2 * stats.norm.sf(np.abs(means[:, n - 1] - other) / np.sqrt(1 / n + 1 / 20)) for n in counts
    ])  # fmt: skip
    false = (p < np.array([look.level for look in made])[:, None]).any(axis=0).mean()
    assert (p < 0.05).any(axis=0).mean() > 0.13
    assert 0.05 < false < 0.0985


def test_one_arm_is_no_look_since_nothing_is_compared() -> None:
    (_, nothing), (second, said) = looks([5], [5, 5])
    assert nothing is said is None
    assert second.level == 0.05
    assert looks([20, 2], [20, 3])[1] == (Look((20, 3), 0.05), None)


def test_arms_that_are_added_are_said() -> None:
    (_, nothing), (second, said), (third, more) = looks([5, 5], [5, 5, 5], [5, 5, 5, 5])
    assert nothing is None
    assert second.level == third.level == 0.05
    assert said == (
        "Arms were added after the first look (looks at 2 and 3 arms): differences are tested at "
        "5% each time, and the chance of a false one in any of these looks is up to 8.3%, not 5%."
    )
    assert more is not None
    assert "(looks at 2, 3 and 4 arms)" in more
    assert "up to 11%, not 5%" in more
    both = looks([3, 3], [5, 5], [5, 5, 5])[2][1]
    assert both is not None
    assert both.startswith("Seeds were added after the first look (looks at 3 and 5 seeds an arm)")
    assert "Arms were added after the first look (looks at 2 and 3 arms)" in both
