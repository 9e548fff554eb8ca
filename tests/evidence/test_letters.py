from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterlab.evidence.letters import letters


def test_published_example() -> None:
    # R's multcompView, after Piepho (2004): of A, B, C, D only A and D differ.
    assert letters(4, [(0, 3)]) == ["a", "ab", "ab", "b"]


def test_golden_examples_by_hand() -> None:
    assert letters(0, []) == []
    assert letters(1, []) == ["a"]
    assert letters(3, []) == ["a", "a", "a"]
    assert letters(3, [(0, 1), (0, 2), (1, 2)]) == ["a", "b", "c"]
    # A chain: neighbours are not told apart, the ends are.
    assert letters(4, [(0, 2), (0, 3), (1, 3)]) == ["a", "ab", "bc", "c"]


@given(st.integers(2, 8).flatmap(
    lambda k: st.tuples(st.just(k), st.sets(st.sampled_from(list(combinations(range(k), 2)))))
))  # fmt: skip
def test_arms_share_a_letter_exactly_if_they_do_not_differ(case: tuple[int, set]) -> None:
    count, different = case
    given_ = letters(count, sorted(different))
    assert all(given_)
    for i, j in combinations(range(count), 2):
        assert bool(set(given_[i]) & set(given_[j])) == ((i, j) not in different)


@given(st.sets(st.sampled_from(list(combinations(range(7), 2)))))
def test_no_letter_is_superfluous(different: set[tuple[int, int]]) -> None:
    given_ = letters(7, sorted(different))
    pairs = {
        letter: {pair for pair in combinations(range(7), 2)
                 if all(letter in given_[arm] for arm in pair)}
        for letter in set("".join(given_))
    }  # fmt: skip
    for letter, own in pairs.items():
        others = set().union(*(pairs[other] for other in pairs if other != letter))
        alone = [arm for arm in range(7) if given_[arm] == letter]
        assert own - others or alone


def test_many_letters() -> None:
    count = 60
    found = letters(count, list(combinations(range(count), 2)))
    assert found[25:28] == ["z", "A", "B"]
    assert found[52:54] == ["(53)", "(54)"]
    assert len(set(found)) == count


@pytest.mark.parametrize("pair", [(0, 0), (0, 3), (-1, 0)])
def test_a_pair_that_is_none_is_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no pair of 3 arms"):
        letters(3, [pair])
