"""Batches of texts that carry what a model makes of them, and what a data module says of itself."""

from typing import Any

import pytest
import torch

from adapterlab.base.errors import ConfigError
from adapterlab.data.text import TextBatches, TokenFeatures
from adapterlab.data.tokens import TokenizedSplit

OFFSETS = torch.tensor([0, 2, 5, 6])
"""Three texts of 2, 3 and 1 tokens."""


def split(truncated: int = 0) -> TokenizedSplit:
    tokens = torch.tensor([5, 6, 7, 8, 9, 4], dtype=torch.int32)
    return TokenizedSplit(tokens, OFFSETS, torch.tensor([1, 0, 2]), 4, truncated, 3 * truncated)


def module(**changes: Any) -> TextBatches:
    arguments: dict[str, Any] = {
        "train": split(2),
        "validation": split(),
        "test": split(1),
        "classes": "abc",
        "batch_size": 2,
        "order_seed": 0,
        "pad_token_id": 3,
        "eval_batch_size": 2,
    }
    return TextBatches(**(arguments | changes))


def by_token() -> TokenFeatures:
    """Features of two numbers: ten times the place of the token, and its place."""
    return TokenFeatures(torch.arange(6.0)[:, None] * torch.tensor([10.0, 1.0]), 2, False)


class TestAttached:
    def test_a_batch_by_hand(self) -> None:
        data = module()
        data.attach("train", by_token())
        first, second = data.batches("train")
        assert first.rows.tolist() == [1, 0]
        assert first.inputs["input_ids"].tolist() == [[7, 8, 9], [5, 6, 3]]
        assert first.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
        assert first.inputs["hidden_states"].tolist() == [
            [[20, 2], [30, 3], [40, 4]],
            [[0, 0], [10, 1], [0, 0]],
        ]
        assert first.inputs["depth"] == 2
        assert second.inputs["hidden_states"].tolist() == [[[50, 5]]]

    def test_first_tokens_by_hand(self) -> None:
        data = module()
        values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        data.attach("train", TokenFeatures(values, 3, True))
        first, _ = data.batches("train")
        assert first.inputs["input_ids"].tolist() == [[7], [5]]
        assert first.inputs["attention_mask"].tolist() == [[1], [1]]
        assert first.inputs["hidden_states"].tolist() == [[[3, 4]], [[1, 2]]]

    def test_padding_is_finite_whatever_the_first_feature_is(self) -> None:
        values = torch.full((6, 2), torch.nan)
        values[[5]] = 1.0
        data = module(pad_to_max=True)
        data.attach("train", TokenFeatures(values, 1, False))
        *_, last = data.batches("train")
        assert last.inputs["hidden_states"].tolist() == [[[1, 1], [0, 0], [0, 0], [0, 0]]]

    def test_features_are_copied_into_a_batch(self) -> None:
        data, features = module(), by_token()
        kept = features.values.clone()
        data.attach("train", features)
        for batch in data.batches("train"):
            batch.inputs["hidden_states"].fill_(-1)
        assert torch.equal(features.values, kept)

    @pytest.mark.parametrize("workers", [0, 1])
    def test_training_batches_carry_their_rows(self, workers: int) -> None:
        data = module(workers=workers)
        data.attach("train", by_token())
        rows = []
        for batch in data.loader("train"):
            rows.extend(batch.rows.tolist())
            for row, states, mask in zip(
                batch.rows, batch.inputs["hidden_states"], batch.inputs["attention_mask"],
                strict=True,
            ):  # fmt: skip
                places = torch.arange(int(OFFSETS[row]), int(OFFSETS[row + 1]))
                assert states[mask.bool()][:, 1].tolist() == places.tolist()
        assert sorted(rows) == [0, 1, 2]

    def test_other_splits_have_none_and_detaching_takes_them_away(self) -> None:
        data = module()
        data.attach("train", by_token())
        assert set(next(data.batches("test")).inputs) == {"input_ids", "attention_mask"}
        data.detach()
        assert set(next(data.batches("train")).inputs) == {"input_ids", "attention_mask"}

    def test_features_of_other_texts_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="train has 3 rows of features, not 6"):
            module().attach("train", TokenFeatures(torch.zeros(6, 2), 1, True))
        with pytest.raises(ConfigError, match="'tets'; allowed"):
            module().attach("tets", by_token())  # type: ignore[arg-type]


class TestWhatIsSaid:
    def test_the_order_is_that_of_the_batches(self) -> None:
        assert module().order("test").tolist() == [1, 0, 2]
        assert module(length_bucketing=False).order("test").tolist() == [0, 1, 2]
        rows = torch.cat([batch.rows for batch in module().batches("test")])
        assert torch.equal(module().order("test"), rows)
        with pytest.raises(ConfigError, match="'tets'; allowed"):
            module().order("tets")  # type: ignore[arg-type]

    def test_facts(self) -> None:
        data = module()
        assert data.facts() == {
            "truncated_texts/train": 2.0,
            "truncated_tokens/train": 6.0,
            "truncated_texts/validation": 0.0,
            "truncated_tokens/validation": 0.0,
            "truncated_texts/test": 1.0,
            "truncated_tokens/test": 3.0,
            "padding_share/train": data.padding_share("train"),
        }

    def test_notes_name_the_splits_that_lost_something(self) -> None:
        assert module().notes() == (
            "train: 2 of 3 texts have more than 4 tokens: 6 of 12 tokens (50.0%) are cut off",
            "test: 1 of 3 texts have more than 4 tokens: 3 of 9 tokens (33.3%) are cut off",
        )
