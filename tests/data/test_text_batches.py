import os
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from adapterlab.base.errors import ConfigError
from adapterlab.data import limited
from adapterlab.data.sources import LoadContext
from adapterlab.data.sources.hub_text import hub_text
from adapterlab.data.text import OrderedByLength, ShuffledByLength, TextBatch, TextBatches
from adapterlab.data.tokenizer import train_wordpiece
from adapterlab.data.tokens import TokenizedSplit, tokenize
from adapterlab.training.lightning.data import LightningData
from adapterlab.training.lightning.imported import pl

PAD = 0
MAX_LENGTH = 40

lengths_of_rows = st.lists(st.integers(1, 60), min_size=1, max_size=300).map(torch.tensor)


def split(n: int, seed: int) -> TokenizedSplit:
    """Rows of random length; token j of row i is 1000 * i + j + 1, and the label is i."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 30, (n,), generator=generator)
    rows = [1000 * i + torch.arange(length) + 1 for i, length in enumerate(lengths.tolist())]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    return TokenizedSplit(torch.cat(rows).int(), offsets, torch.arange(n), MAX_LENGTH, 0, 0)


def module(**changes: Any) -> TextBatches:
    arguments: dict[str, Any] = {
        "train": split(203, 0),
        "validation": split(20, 1),
        "test": split(30, 2),
        "classes": [str(i) for i in range(203)],
        "batch_size": 8,
        "order_seed": 7,
        "pad_token_id": PAD,
        "eval_batch_size": 4,
    }
    return TextBatches(**(arguments | changes))


def rows_of(batch: TextBatch) -> list[list[int]]:
    """The tokens that the mask leaves."""
    inputs = batch.inputs
    pairs = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in pairs]


def assert_same(first: list[TextBatch], second: list[TextBatch]) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.rows, b.rows)
        assert torch.equal(a.labels, b.labels)
        assert all(torch.equal(a.inputs[name], b.inputs[name]) for name in a.inputs)


class Recorder(pl.LightningModule):
    """Keeps every batch it sees, by stage and epoch; learns nothing of interest."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: dict[tuple[str, int], list[TextBatch]] = defaultdict(list)

    def _see(self, stage: str, batch: TextBatch) -> Tensor:
        self.seen[stage, self.current_epoch].append(batch)
        return self.layer(batch.labels[:, None].float()).mean()

    def training_step(self, batch: TextBatch, batch_idx: int) -> Tensor:
        return self._see("train", batch)

    def validation_step(self, batch: TextBatch, batch_idx: int) -> None:
        self._see("validation", batch)

    def test_step(self, batch: TextBatch, batch_idx: int) -> None:
        self._see("test", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trainer(folder: Path, **arguments: Any) -> pl.Trainer:
    settings: dict[str, Any] = {
        "default_root_dir": folder,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(**(settings | arguments))


class TestShuffledByLength:
    @given(
        lengths=lengths_of_rows,
        batch_size=st.integers(1, 40),
        seed=st.integers(0, 2**63),
        epoch=st.integers(0, 10_000),
        group=st.integers(1, 60),
    )
    def test_an_epoch_holds_every_row_exactly_once(
        self, lengths: Tensor, batch_size: int, seed: int, epoch: int, group: int
    ) -> None:
        draws = ShuffledByLength(lengths, batch_size, seed, group)
        draws.set_epoch(epoch)
        batches = list(draws)
        assert len(batches) == len(draws)
        sizes = sorted(map(len, batches), reverse=True)
        assert all(size == batch_size for size in sizes[:-1])
        assert torch.equal(torch.cat(batches).sort().values, torch.arange(len(lengths)))

    @given(
        lengths=lengths_of_rows,
        batch_size=st.integers(1, 40),
        seed=st.integers(0, 2**63),
        epoch=st.integers(0, 10_000),
        group=st.integers(1, 60),
    )
    def test_grouping_never_pads_more_than_an_ordinary_shuffle(
        self, lengths: Tensor, batch_size: int, seed: int, epoch: int, group: int
    ) -> None:
        def padded(group: int) -> int:
            draws = ShuffledByLength(lengths, batch_size, seed, group)
            draws.set_epoch(epoch)
            return sum(len(rows) * int(lengths[rows].max()) for rows in draws)

        assert int(lengths.sum()) <= padded(group) <= padded(1)

    def test_full_batches_of_a_group_do_not_overlap_in_length(self) -> None:
        lengths = torch.randint(1, 500, (320,), generator=torch.Generator().manual_seed(0))
        spans = sorted(
            (int(lengths[rows].min()), int(lengths[rows].max()))
            for rows in ShuffledByLength(lengths, 8, seed=1)
        )
        assert all(low[1] <= high[0] for low, high in pairwise(spans))

    def test_order_is_a_function_of_seed_and_epoch(self) -> None:
        lengths = torch.randint(1, 50, (100,), generator=torch.Generator().manual_seed(0))

        def order(seed: int, epoch: int) -> tuple[int, ...]:
            draws = ShuffledByLength(lengths, 7, seed)
            draws.set_epoch(epoch)
            torch.rand(epoch + 1)  # the global generator has no say
            return tuple(torch.cat(list(draws)).tolist())

        assert order(1, 5) == order(1, 5)
        assert len({order(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9

    def test_batches_come_in_no_order_of_length(self) -> None:
        lengths = torch.arange(1, 401)
        longest = [int(rows.max()) for rows in ShuffledByLength(lengths, 8, seed=0)]
        assert longest != sorted(longest)
        assert longest != sorted(longest, reverse=True)

    def test_rows_beyond_the_last_full_batch_are_not_chosen_by_length(self) -> None:
        lengths = torch.arange(1, 104)
        small = set()
        for epoch in range(20):
            draws = ShuffledByLength(lengths, 10, seed=0)
            draws.set_epoch(epoch)
            small |= {int(row) for rows in draws if len(rows) == 3 for row in rows}
        assert len(small) > 30


class TestOrderedByLength:
    def test_longest_first_and_ties_in_file_order(self) -> None:
        draws = OrderedByLength(torch.tensor([2, 9, 2, 5, 9]), 2)
        assert [rows.tolist() for rows in draws] == [[1, 4], [3, 0], [2]]
        assert len(draws) == 3

    def test_file_order(self) -> None:
        draws = OrderedByLength(torch.tensor([2, 9, 2]), 2, by_length=False)
        assert [rows.tolist() for rows in draws] == [[0, 1], [2]]


class TestWithoutATrainer:
    def test_a_batch_by_hand(self) -> None:
        tokens = torch.tensor([5, 6, 7, 8, 9, 4], dtype=torch.int32)
        small = TokenizedSplit(tokens, torch.tensor([0, 2, 5, 6]), torch.tensor([1, 0, 2]), 4, 0, 0)
        data = module(test=small, eval_batch_size=2, pad_token_id=3)
        first, second = data.batches("test")
        assert first.rows.tolist() == [1, 0]
        assert first.labels.tolist() == [0, 1]
        assert first.inputs["input_ids"].tolist() == [[7, 8, 9], [5, 6, 3]]
        assert first.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
        assert second.inputs["input_ids"].tolist() == [[4]]
        assert {tensor.dtype for tensor in first.inputs.values()} == {torch.int64}
        # 2 rows of 3 and 1 of 1, over 6 tokens
        assert data.padding_share("test") == 7 / 6

        data.pad_to_max = True
        assert next(data.batches("test")).inputs["input_ids"].tolist()[1] == [5, 6, 3, 3]
        assert data.padding_share("test") == 12 / 6

    @pytest.mark.parametrize("options", [{}, {"length_bucketing": False}, {"pad_to_max": True}])
    @pytest.mark.parametrize("name", ["train", "validation", "test"])
    def test_every_row_comes_with_its_own_tokens_and_label(
        self, name: Any, options: dict[str, bool]
    ) -> None:
        data = module(**options)
        split = data.splits[name]
        for batches in (list(data.batches(name)), list(data.loader("train"))):
            for batch in batches:
                for row, label, tokens in zip(
                    batch.rows.tolist(), batch.labels.tolist(), rows_of(batch), strict=True
                ):
                    assert label == row
                    assert tokens[0] == 1000 * row + 1
                    assert tokens == list(range(tokens[0], tokens[0] + len(tokens)))
        lengths = {
            row: len(tokens)
            for batch in data.batches(name)
            for row, tokens in zip(batch.rows.tolist(), rows_of(batch), strict=True)
        }
        assert [lengths[row] for row in range(len(split))] == split.lengths.tolist()

    def test_rows_put_results_in_file_order(self) -> None:
        batches = list(module().batches("test"))
        results = torch.cat([batch.labels * 10 for batch in batches])
        rows = torch.cat([batch.rows for batch in batches])
        assert rows.tolist() != list(range(30))
        assert results[rows.argsort()].tolist() == [10 * i for i in range(30)]

    def test_less_padding_than_without_buckets_and_that_less_than_to_the_maximum(self) -> None:
        for name in ("train", "validation", "test"):
            shares = [
                module(**options).padding_share(name)  # type: ignore[arg-type]
                for options in ({}, {"length_bucketing": False}, {"pad_to_max": True})
            ]
            assert 1 <= shares[0] < shares[1] < shares[2]

    def test_the_share_is_that_of_the_batches(self) -> None:
        data = module()
        for name, batches in (
            ("train", data.loader("train")),
            ("validation", data.loader("validation")),
            ("test", data.loader("test")),
        ):
            masks = [batch.inputs["attention_mask"] for batch in batches]
            share = sum(mask.numel() for mask in masks) / sum(int(mask.sum()) for mask in masks)
            assert data.padding_share(name) == share  # type: ignore[arg-type]

    def test_reading_leaves_the_global_generator_alone(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        list(module().batches("validation"))
        assert torch.equal(torch.rand(3), expected)

    def test_an_unknown_split_is_refused(self) -> None:
        for call in (lambda data: next(data.batches("tets")), lambda d: d.padding_share("tets")):
            with pytest.raises(ConfigError, match="'tets'; allowed: train, validation, test"):
                call(module())


class TestWithATrainer:
    def test_evaluation_batches_are_those_without_a_trainer(self, tmp_path: Path) -> None:
        data, model = module(), Recorder()
        runner = trainer(tmp_path, max_epochs=1)
        runner.fit(model, LightningData(data))
        runner.test(model, LightningData(data), verbose=False)
        assert_same(model.seen["validation", 0], list(data.batches("validation")))
        assert_same(model.seen["test", 1], list(data.batches("test")))

    def test_training_batches_are_shuffled_anew_each_epoch(self, tmp_path: Path) -> None:
        data, model = module(), Recorder()
        trainer(tmp_path, max_epochs=3, limit_val_batches=0).fit(model, LightningData(data))
        orders = set()
        for epoch in range(3):
            rows = torch.cat([batch.rows for batch in model.seen["train", epoch]])
            assert torch.equal(rows.sort().values, torch.arange(203))
            orders.add(tuple(rows.tolist()))
        assert len(orders) == 3

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_resumed_run_sees_the_batches_of_one_never_stopped(
        self, tmp_path: Path, workers: int
    ) -> None:
        whole = Recorder()
        trainer(tmp_path, max_epochs=4).fit(whole, LightningData(module()))
        first = trainer(tmp_path, max_epochs=2)
        first.fit(Recorder(), LightningData(module()))
        first.save_checkpoint(tmp_path / "half.ckpt")
        resumed = Recorder()
        data = module(workers=workers)
        trainer(tmp_path, max_epochs=4).fit(
            resumed, LightningData(data), ckpt_path=tmp_path / "half.ckpt"
        )
        assert {epoch for stage, epoch in resumed.seen if stage == "train"} == {2, 3}
        for epoch in (2, 3):
            assert_same(resumed.seen["train", epoch], whole.seen["train", epoch])


@pytest.mark.parametrize(
    ("setting", "value", "least"),
    [("batch_size", 0, 1), ("eval_batch_size", 0, 1), ("order_seed", -1, 0), ("workers", -1, 0)],
)
def test_impossible_settings_are_refused(setting: str, value: int, least: int) -> None:
    with pytest.raises(ConfigError, match=f"{setting} is {value}; allowed: {least} or more"):
        module(**{setting: value})


@pytest.mark.skipif("ADAPTERLAB_DATA_DIR" not in os.environ, reason="needs ADAPTERLAB_DATA_DIR")
def test_real_reviews_of_like_length_share_batches(context: LoadContext) -> None:
    here = LoadContext((Path(os.environ["ADAPTERLAB_DATA_DIR"]),), context.download, context.cache)
    data = hub_text(here, "imdb", "stanfordnlp/imdb", classes=["neg", "pos"])
    sample = limited(data.train, 1500, seed=0)
    tokenizer = train_wordpiece(sample.texts, 2000)
    tokens = tokenize(sample, tokenizer, 512, cache=context.cache, name="imdb")
    assert tokens.truncated_texts > 0
    splits: dict[str, Any] = {"train": tokens, "validation": tokens, "test": tokens}
    shares = [
        module(**splits, batch_size=16, **options).padding_share("train")
        for options in ({}, {"length_bucketing": False})
    ]
    assert shares[0] < 1.1
    assert shares[1] > 1.4
