from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from adapterlab.base.errors import ConfigError
from adapterlab.data import ImageSplit
from adapterlab.data.images import Batch, ImageBatches, OrderedDraws, RawBatch, ShuffledDraws
from adapterlab.training.lightning.data import LightningData
from adapterlab.training.lightning.imported import pl


def split(n: int, seed: int) -> ImageSplit:
    """Random images; the labels are the row numbers, so that rows can be told apart."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 6, 6), dtype=torch.uint8, generator=generator)
    return ImageSplit(images, torch.arange(n))


def module(**changes: Any) -> ImageBatches:
    arguments: dict[str, Any] = {
        "train": split(50, 0),
        "validation": split(20, 1),
        "test": split(30, 2),
        "classes": [str(i) for i in range(50)],
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.3, 0.4],
        "batch_size": 16,
        "order_seed": 7,
        "eval_batch_size": 8,
    }
    return ImageBatches(**(arguments | changes))


class Recorder(pl.LightningModule):
    """Keeps every batch it sees, by stage and epoch; learns nothing of interest."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 6 * 6, 1)
        self.seen: dict[tuple[str, int], list[Batch]] = defaultdict(list)

    def _see(self, stage: str, batch: Batch) -> Tensor:
        self.seen[stage, self.current_epoch].append(batch)
        return self.layer(batch.inputs.flatten(1)).mean()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._see("train", batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._see("validation", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
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


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.labels, b.labels)


class TestDraws:
    @given(
        size=st.integers(1, 200),
        batch_size=st.integers(1, 64),
        seed=st.integers(0, 2**63),
        epoch=st.integers(0, 10_000),
    )
    def test_an_epoch_holds_every_row_exactly_once(
        self, size: int, batch_size: int, seed: int, epoch: int
    ) -> None:
        draws = ShuffledDraws(size, batch_size, seed)
        draws.set_epoch(epoch)
        batches = list(draws)
        assert len(batches) == len(draws)
        assert all(len(batch.indices) == batch_size for batch in batches[:-1])
        rows = torch.cat([batch.indices for batch in batches])
        assert torch.equal(rows.sort().values, torch.arange(size))

    def test_order_is_a_function_of_seed_and_epoch(self) -> None:
        def order(seed: int, epoch: int) -> list[int]:
            draws = ShuffledDraws(100, 100, seed)
            draws.set_epoch(epoch)
            torch.rand(epoch + 1)  # the global generator has no say
            return next(iter(draws)).indices.tolist()

        assert order(1, 5) == order(1, 5)
        orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
        assert len({tuple(o) for o in orders}) == 9

    def test_every_batch_of_every_epoch_has_its_own_augmentation_seed(self) -> None:
        seeds = set()
        for seed in range(3):
            draws = ShuffledDraws(100, 10, seed)
            for epoch in range(5):
                draws.set_epoch(epoch)
                seeds |= {draw.seed for draw in draws}
        assert len(seeds) == 3 * 5 * 10

    def test_ordered_rows_come_in_order_and_unaugmented(self) -> None:
        draws = list(OrderedDraws(5, 2))
        assert [draw.indices.tolist() for draw in draws] == [[0, 1], [2, 3], [4]]
        assert all(draw.seed is None for draw in draws)


class TestWithoutATrainer:
    def test_batches_are_normalised_and_in_order(self) -> None:
        data = module()
        batches = list(data.batches("test"))
        assert [len(batch.labels) for batch in batches] == [8, 8, 8, 6]
        assert torch.cat([batch.labels for batch in batches]).tolist() == list(range(30))
        expected = data.normalize(data.splits["test"].images)
        assert torch.equal(torch.cat([batch.inputs for batch in batches]), expected)

    def test_training_rows_are_not_augmented_when_read_for_evaluation(self) -> None:
        data = module(crop=2, flip=True)
        inputs = torch.cat([batch.inputs for batch in data.batches("train")])
        assert torch.equal(inputs, data.normalize(data.splits["train"].images))

    def test_the_order_is_that_of_the_batches(self) -> None:
        data = module()
        labels = torch.cat([batch.labels for batch in data.batches("train")])
        assert torch.equal(data.order("train"), labels)
        with pytest.raises(ConfigError, match="'tets'; allowed: train, validation, test"):
            data.order("tets")  # type: ignore[arg-type]

    def test_precision_of_the_inputs(self) -> None:
        single, double = (
            next(module(dtype=dtype).batches("test")).inputs
            for dtype in (torch.float32, torch.float64)
        )
        assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
        assert torch.equal(single.double(), double)

    def test_there_is_nothing_to_say_of_images(self) -> None:
        assert (module().facts(), module().notes()) == ({}, ())

    def test_reading_leaves_the_global_generator_alone(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        list(module().batches("validation"))
        assert torch.equal(torch.rand(3), expected)

    def test_an_unknown_split_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="'tets'; allowed: train, validation, test"):
            next(module().batches("tets"))  # type: ignore[arg-type]


class TestWithATrainer:
    def test_evaluation_batches_are_those_without_a_trainer(self, tmp_path: Path) -> None:
        data, model = module(crop=2, flip=True), Recorder()
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
            batches = model.seen["train", epoch]
            assert [len(batch.labels) for batch in batches] == [16, 16, 16, 2]
            labels = torch.cat([batch.labels for batch in batches])
            inputs = torch.cat([batch.inputs for batch in batches])
            assert torch.equal(labels.sort().values, torch.arange(50))
            assert torch.equal(inputs, data.normalize(data.splits["train"].images[labels]))
            orders.add(tuple(labels.tolist()))
        assert len(orders) == 3

    def test_only_training_batches_are_augmented(self, tmp_path: Path) -> None:
        data, model = module(crop=2, flip=True), Recorder()
        trainer(tmp_path, max_epochs=1).fit(model, LightningData(data))
        batch = model.seen["train", 0][0]
        plain = data.normalize(data.splits["train"].images[batch.labels])
        changed = (batch.inputs != plain).flatten(1).any(dim=1)
        assert changed.sum() >= 12  # 49 in 50 images change, of 16

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_resumed_run_sees_the_batches_of_one_never_stopped(
        self, tmp_path: Path, workers: int
    ) -> None:
        settings = {"crop": 2, "flip": True}
        whole = Recorder()
        trainer(tmp_path, max_epochs=4).fit(whole, LightningData(module(**settings)))
        first = trainer(tmp_path, max_epochs=2)
        first.fit(Recorder(), LightningData(module(**settings)))
        first.save_checkpoint(tmp_path / "half.ckpt")
        resumed = Recorder()
        trainer(tmp_path, max_epochs=4).fit(
            resumed,
            LightningData(module(**settings, workers=workers)),
            ckpt_path=tmp_path / "half.ckpt",
        )
        assert {epoch for stage, epoch in resumed.seen if stage == "train"} == {2, 3}
        for epoch in (2, 3):
            assert_same(resumed.seen["train", epoch], whole.seen["train", epoch])


@pytest.mark.parametrize("settings", [{}, {"crop": 2, "flip": True}, {"workers": 1}])
def test_orders_side_by_side_are_the_batches_of_each(settings: dict[str, Any]) -> None:
    data = module(**settings)
    seeds = (data.order_seed, data.order_seed + 1, 7)
    for epoch in range(2):
        each = [list(data.in_order(seed).training_batches(epoch)) for seed in seeds]
        joint = [
            Batch(torch.cat([b.inputs for b in batches]), torch.cat([b.labels for b in batches]))
            for batches in zip(*each, strict=True)
        ]
        orders = [(seed, epoch) for seed in seeds]
        assert_same(list(data.side_by_side(orders)), joint)
        assert_same(list(data.side_by_side(orders[:1])), each[0])
    of_each_epoch = [list(data.training_batches(epoch)) for epoch in (3, 0)]
    for number, both in enumerate(data.side_by_side([(seeds[0], 3), (seeds[0], 0)])):
        apart = [own[number].inputs for own in of_each_epoch]
        torch.testing.assert_close(both.inputs, torch.cat(apart), rtol=0, atol=0)


def test_augmentation_is_a_function_of_the_batch_alone() -> None:
    data = module(crop=2, flip=True)
    train = data.splits["train"]
    raw = RawBatch(train.images[:8], train.labels[:8], seed=11)
    first = data.prepared(raw)
    torch.rand(5)
    assert_same([first], [data.prepared(raw)])
    other = data.prepared(raw._replace(seed=12))
    assert not torch.equal(first.inputs, other.inputs)


@pytest.mark.parametrize(
    ("setting", "value", "least"),
    [("batch_size", 0, 1), ("eval_batch_size", 0, 1), ("order_seed", -1, 0), ("workers", -1, 0)],
)
def test_impossible_settings_are_refused(setting: str, value: int, least: int) -> None:
    with pytest.raises(ConfigError, match=f"{setting} is {value}; allowed: {least} or more"):
        module(**{setting: value})
