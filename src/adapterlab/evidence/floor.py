"""What scikit-learn's logistic regression reaches on the same rows: the floor of a fine-tuning.

A model that does no better has learnt nothing that its pretraining is needed for.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Integers

COMPONENTS = 100
"""Principal components of images; with more the fit takes minutes and is hardly better."""

_FEATURES = 50_000
_ITERATIONS = 200


def text_floor(
    train: Sequence[str], train_labels: Integers, test: Sequence[str], test_labels: Integers
) -> float:
    """Return the test accuracy of logistic regression on TF-IDF of words and pairs of words.

    Args:
        train: texts.
        train_labels: ``[N]``, of at least two classes.
        test: texts.
        test_labels: ``[M]``.

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
    train_labels: Integers,
    test: npt.NDArray[np.uint8],
    test_labels: Integers,
) -> float:
    """Return the test accuracy of logistic regression on principal components of the pixels.

    Args:
        train: images, ``[N, ...]``.
        train_labels: ``[N]``, of at least two classes.
        test: images of the same shape, ``[M, ...]``.
        test_labels: ``[M]``.

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


def feature_floor(
    train: npt.NDArray[np.float32],
    train_labels: Integers,
    test: npt.NDArray[np.float32],
    test_labels: Integers,
) -> float:
    """Return the test accuracy of logistic regression on features, each brought to one scale.

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
    train: npt.ArrayLike, train_labels: Integers, test: npt.ArrayLike, test_labels: Integers
) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = LogisticRegression(max_iter=_ITERATIONS).fit(train, train_labels)
    return float((fitted.predict(test) == test_labels).mean())
