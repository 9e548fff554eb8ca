"""The floors are scikit-learn's, on rows of ours."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from adapterlab.evidence.floor import image_floor, text_floor


def test_digits_are_told_apart_by_a_linear_model() -> None:
    digits = load_digits()
    images, labels = (digits.images * 15).astype(np.uint8), digits.target
    found = image_floor(images[:1000], labels[:1000], images[1000:], labels[1000:])
    # scikit-learn's own example of logistic regression on these halves is a little above 0.9.
    assert 0.88 < found < 0.95
    assert found == image_floor(images[:1000], labels[:1000], images[1000:], labels[1000:])


def test_more_pixels_than_rows_are_enough() -> None:
    images = np.zeros((6, 3, 20, 20), np.uint8)
    images[::2] = 200
    labels = np.array([0, 1] * 3)
    assert image_floor(images, labels, images, labels) == 1.0


def test_words_tell_texts_apart_and_signs_too() -> None:
    train = ["a good film", "good , good", "bad film", "so bad"] * 3
    labels = np.array([0, 0, 1, 1] * 3)
    assert text_floor(train, labels, ["good indeed", "bad"], np.array([0, 1])) == 1.0
    signs = [":)", ":(", "!", "?"]
    assert text_floor(signs, np.arange(4), signs, np.arange(4)) == 1.0


def test_one_class_and_texts_without_anything_are_refused() -> None:
    with pytest.raises(ValueError, match="class"):
        text_floor(["a", "b"], np.zeros(2, int), ["a"], np.zeros(1, int))
    with pytest.raises(ValueError, match="vocabulary"):
        text_floor(["", " "], np.arange(2), [""], np.zeros(1, int))
