"""What scikit-learn's linear models reach on the same rows: the floor of a fine-tuning.

A model that does no better has learnt nothing that its pretraining is needed for.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.multi_label import multi_label_metrics
from adapterlab.evidence.regression import r_squared

Labels = npt.NDArray[Any]
"""``[N]``: class indices or, in float64, numbers; or in bool ``[N, C]``, of several labels."""

COMPONENTS = 100
"""Principal components of images; with more the fit takes minutes and is hardly better."""

_FEATURES = 50_000
_ITERATIONS = 200


def text_floor(
    train: Sequence[str], train_labels: Labels, test: Sequence[str], test_labels: Labels
) -> float:
    """Return the test score of a linear model on TF-IDF of words and pairs of words.

    Args:
        train: texts.
        train_labels: of at least two kinds.
        test: texts.
        test_labels: likewise.

    Raises:
        ValueError: no text has a word, or there is one class only.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    # What counts as a word leaves none of a text of single letters or of signs out.
    words = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        token_pattern=r"(?u)\w+|[^\w\s]",
        max_features=_FEATURES,
        dtype=np.float32,
    )
    return _fitted(words.fit_transform(train), train_labels, words.transform(test), test_labels)


def image_floor(
    train: npt.NDArray[np.uint8],
    train_labels: Labels,
    test: npt.NDArray[np.uint8],
    test_labels: Labels,
) -> float:
    """Return the test score of a linear model on principal components of the pixels.

    Args:
        train: images, ``[N, ...]``.
        train_labels: of at least two kinds.
        test: images of the same shape, ``[M, ...]``.
        test_labels: likewise.

    Raises:
        ValueError: there is one class only.
    """
    from sklearn.decomposition import PCA

    flat, other = (
        images.reshape(len(images), -1).astype(np.float32) / 255 for images in (train, test)
    )
    count = min(COMPONENTS, flat.shape[1], len(flat))
    solver = "randomized" if count < min(flat.shape) else "full"
    parts = PCA(count, svd_solver=solver, random_state=0)
    return _fitted(parts.fit_transform(flat), train_labels, parts.transform(other), test_labels)


def constant_floor(train: Labels, test: Labels) -> float:
    """Return the test score of the answer that is best for all training rows alike.

    It is the mean of numbers; of several labels the most frequent ones, as many as have the best
    micro-F1 on the training rows.

    Args:
        train: labels ``[N]`` in float64, or ``[N, C]`` in bool.
        test: likewise.
    """
    if train.ndim == 1:
        return r_squared(np.full(len(test), train.mean()), test)
    counts = np.sort(train.sum(0))[::-1].cumsum()
    most = int(np.argmax(2 * counts / (len(train) * np.arange(1, len(counts) + 1) + train.sum())))
    chosen = np.zeros(train.shape[1], dtype=np.bool_)
    chosen[np.argsort(-train.sum(0), kind="stable")[: most + 1]] = True
    return _micro_f1(np.broadcast_to(chosen, test.shape), test)


def feature_floor(
    train: npt.NDArray[np.float32],
    train_labels: Labels,
    test: npt.NDArray[np.float32],
    test_labels: Labels,
) -> float:
    """Return the test score of the task's linear model on features, each brought to one scale.

    Args:
        train: features, ``[N, d]``.
        train_labels: ``[N]``, of at least two classes.
        test: likewise, ``[M, d]``.
        test_labels: ``[M]``.

    Raises:
        ValueError: there is one class only, or a feature is no number.
    """
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler()
    return _fitted(scale.fit_transform(train), train_labels, scale.transform(test), test_labels)


def _fitted(
    train: npt.ArrayLike, train_labels: Labels, test: npt.ArrayLike, test_labels: Labels
) -> float:
    """Fit the linear model of a task, and score it by the task's main metric.

    Classes: logistic regression, accuracy. Several labels: one of each, micro-F1. Numbers: ridge
    regression, R².
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if train_labels.ndim == 2:
            return _micro_f1(_each_label(train, train_labels, test), test_labels)
        if train_labels.dtype == np.float64:
            said = Ridge().fit(train, train_labels).predict(test)
            return r_squared(np.asarray(said, dtype=np.float64), test_labels)
        fitted = LogisticRegression(max_iter=_ITERATIONS).fit(train, train_labels)
    return float((fitted.predict(test) == test_labels).mean())


def _each_label(train: npt.ArrayLike, labels: Labels, test: npt.ArrayLike) -> Labels:
    from sklearn.linear_model import LogisticRegression

    columns = []
    for own in labels.T:
        if own.all() or not own.any():
            columns.append(np.full(np.shape(test)[0], own[0]))
            continue
        fitted = LogisticRegression(max_iter=_ITERATIONS).fit(train, own)
        columns.append(fitted.predict(test))
    return np.stack(columns, axis=1).astype(np.bool_)


def _micro_f1(said: Labels, true: Labels) -> float:
    names = [str(label) for label in range(true.shape[1])]
    return multi_label_metrics(np.where(said, 1.0, -1.0), true, names)["micro_f1"]
