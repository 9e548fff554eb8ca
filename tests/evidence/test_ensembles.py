import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from scipy import special
from sklearn.metrics import accuracy_score, log_loss

from adapterlab.evidence.ensembles import (
    Pool,
    churn,
    disagreement,
    log_probabilities,
    most_flipped,
    scores,
)
from adapterlab.evidence.metrics import classification_metrics

LABELS = np.array([0, 1, 2, 0])
SAID = np.array([[0, 1, 0, 1], [0, 1, 1, 2], [0, 2, 2, 1]])


def pooled(members: Iterable[np.ndarray]) -> np.ndarray:
    pool = Pool()
    for member in members:
        pool.add(member)
    return pool.mean()


def logits(seed: int = 0, s: int = 4, n: int = 50, c: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, size=(s, n, c)).astype(np.float32)


class TestEnsemble:
    def test_it_is_the_mean_of_probabilities(self) -> None:
        x = logits()
        mean = special.softmax(x.astype(np.float64), axis=2).mean(axis=0)
        log_p = pooled(log_probabilities(one) for one in x)
        assert np.allclose(np.exp(log_p), mean)
        labels = np.arange(50) % 3
        found = scores(log_p, labels)
        assert found.accuracy == accuracy_score(labels, mean.argmax(axis=1))
        assert found.nll == pytest.approx(log_loss(labels, mean))

    def test_of_one_model_it_is_the_model_with_the_metrics_of_a_run(self) -> None:
        x, labels = logits(s=1)[0], np.arange(50) % 3
        of_run = classification_metrics(x, labels, "abc")
        found = scores(pooled([log_probabilities(x)]), labels)
        assert (found.accuracy, found.nll, found.ece) == pytest.approx(
            tuple(of_run[name] for name in ("accuracy", "nll", "ece"))
        )

    def test_its_nll_is_never_above_the_mean_of_its_members(self) -> None:
        # The logarithm is concave (Jensen).
        x, labels = logits(1), np.arange(50) % 3
        members = [scores(log_probabilities(one), labels).nll for one in x]
        assert scores(pooled(map(log_probabilities, x)), labels).nll < np.mean(members)

    def test_a_probability_too_small_for_a_float_still_counts(self) -> None:
        sure = np.array([[0.0, 2000.0]])
        found = scores(pooled([log_probabilities(sure)] * 3), np.array([0]))
        assert found.nll == pytest.approx(2000)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: pooled([]), "no model"),
            (lambda: pooled([np.zeros((2, 3)), np.zeros((2, 2))]), r"\(2, 3\) and \(2, 2\)"),
            (lambda: scores(np.zeros((2, 3)), np.array([0])), r"\(2, 3\) for labels"),
            (lambda: scores(np.zeros((1, 3)), np.array([3])), "labels from 3 to 3 of 3 classes"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, call: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            call()  # type: ignore[operator]


class TestChurn:
    def test_golden_values_by_hand(self) -> None:
        # Of three pairs, 0, 2, 3 and 2 disagree on the four examples.
        assert disagreement(SAID) == pytest.approx([0, 2 / 3, 1, 2 / 3])
        found = churn(SAID, LABELS)
        assert found is not None
        assert found.pairwise == pytest.approx((2 / 3 + 1 + 2 / 3) / 4)
        assert found.any == 0.75
        # On the last example all are wrong; on the third, one of two in two pairs is right.
        assert found.one_right == pytest.approx((2 / 3 + 2 / 3) / 4)

    def test_it_is_the_mean_over_pairs(self) -> None:
        said = np.random.default_rng(0).integers(5, size=(6, 200))
        labels = np.zeros(200, dtype=int)
        pairs = [(a != b).mean() for a, b in itertools.combinations(said, 2)]
        found = churn(said, labels)
        assert found is not None
        assert found.pairwise == pytest.approx(np.mean(pairs))
        assert found.any == (said != said[0]).any(axis=0).mean()

    def test_one_model_has_none(self) -> None:
        assert churn(SAID[:1], LABELS) is None

    def test_most_flipped_come_first(self) -> None:
        found = most_flipped(SAID, LABELS, top=9)
        assert [(one.row, one.label) for one in found] == [(2, 2), (1, 1), (3, 0)]
        assert found[1].answers == ((1, 2), (2, 1))
        assert found[1].disagreement == pytest.approx(2 / 3)
        assert len(most_flipped(SAID, LABELS, top=1)) == 1

    @pytest.mark.parametrize(
        ("said", "top", "message"),
        [
            (SAID[0], 1, r"\(4,\) for labels of shape \(4,\); expected \[S, N\]"),
            (SAID[:, :3], 1, r"\(3, 3\) for labels"),
            (SAID[:1], 1, "1 models, top 1; expected from 2"),
            (SAID, 0, "top 0"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, said: np.ndarray, top: int, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            most_flipped(said, LABELS, top)
