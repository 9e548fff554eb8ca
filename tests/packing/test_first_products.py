"""What frozen matrices make of every row, computed once: the same training, to the last bit."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from adapterlab import adapters
from adapterlab.adapters import Strategy
from adapterlab.data.images import ImageBatches
from adapterlab.data.splits import ImageSplit
from adapterlab.models import MLP
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.training.hardware import Device
from adapterlab.training.packed.first_products import FirstProducts
from adapterlab.training.prefix.frozen_prefix import Prefix

SHAPE, CLASSES, ROWS, BATCH = (1, 6, 6), 5, 104, 16
CPU = Device("cpu", torch.device("cpu"), "32-true")

METHODS: dict[str, Strategy] = {
    "lora": adapters.LoRA(rank=3),
    "lora-dropout": adapters.LoRA(rank=3, dropout=0.3),
    "dora": adapters.DoRA(rank=2),
    "vera": adapters.VeRA(rank=8),
    "vera-dropout": adapters.VeRA(rank=8, dropout=0.2),
    "ia3": adapters.IA3(targets="all-linear"),
    "svft": adapters.SVFT(),
    "lora_xs": adapters.LoRAXS(rank=2),
    "bottleneck": adapters.Bottleneck(size=3),
    "oft": adapters.OFT(block_size=4),
    "ssf": adapters.SSF(),
    "bitfit": adapters.BitFit(),
    "full": adapters.Full(),
}
KNOWS_ALL = {"vera", "ia3", "svft", "lora_xs", "bottleneck", "ssf", "bitfit"}
KNOWS_NOTHING = {"oft", "full"}


def batches(dtype: torch.dtype = torch.float32, **options: Any) -> ImageBatches:
    generator = torch.Generator().manual_seed(7)

    def split(rows: int) -> ImageSplit:
        images = torch.randint(0, 256, (rows, *SHAPE), generator=generator).to(torch.uint8)
        return ImageSplit(images, images.flatten(1)[:, 0].long() % CLASSES)

    return ImageBatches(
        train=split(ROWS), validation=split(40), test=split(8), classes=list("abcde"),
        batch_size=BATCH, order_seed=0, mean=[0.4], std=[0.3], dtype=dtype, **options,
    )  # fmt: skip


def pack_of(
    strategies: Sequence[Strategy], streams: Sequence[int], dtype: torch.dtype = torch.float32
) -> PackedModel:
    models = []
    for seed, strategy in enumerate(strategies):
        drawn = torch.Generator().manual_seed(3)
        base = MLP(SHAPE, CLASSES, widths=(9, 7), dropout=0.1, generator=drawn).to(dtype)
        models.append(strategy.apply(base, seed=seed))
    share_frozen(models)
    return PackedModel(models, streams).train()


def trained(
    pack: PackedModel, data: ImageBatches, first: FirstProducts, epochs: int = 2
) -> list[Tensor]:
    """Train a pack by plain steps; return logits of each, and those on validation."""
    seen = []
    optimizer = torch.optim.AdamW(pack.parameters(), lr=0.01)
    orders = list(dict.fromkeys(pack.lanes.read))
    for epoch in range(epochs):
        seeds = [10 * epoch + lane for lane in range(pack.count)]
        pack.reseed(seeds, seeds)
        for batch in first.training_batches([(seed, epoch) for seed in orders]):
            labels = batch.labels.view(len(orders), -1)[pack.lanes.read]
            logits = pack(batch.inputs, labels.shape[1], known=batch.known)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(logits.detach())
        pack.eval()
        with torch.inference_mode():
            for batch in first.validation_batches():
                logits = pack(batch.inputs, len(batch.labels), together=True, known=batch.known)
                seen.append(logits)
        pack.train()
    return seen


def assert_same_with_and_without(
    strategies: Sequence[Strategy], streams: Sequence[int], dtype: torch.dtype = torch.float32
) -> FirstProducts:
    data = batches(dtype)
    with_them, without = (pack_of(strategies, streams, dtype) for _ in range(2))
    first = FirstProducts(with_them, data, CPU, epochs=40)
    expected = trained(without, data, FirstProducts(without, data, CPU, epochs=0))
    for own, other in zip(trained(with_them, data, first), expected, strict=True):
        assert torch.equal(own, other)
    assert not torch.equal(expected[0], expected[-1][:, : len(expected[0][0])])
    return first


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("streams", [[0, 1, 2], [0, 0, 0]], ids=["own orders", "one order"])
def test_a_training_is_the_same_to_the_last_bit(method: str, streams: list[int]) -> None:
    first = assert_same_with_and_without([METHODS[method]] * 3, streams)
    assert first.needs_images == (method not in KNOWS_ALL)
    assert (first.gib == 0) == (method in KNOWS_NOTHING)


def test_it_is_in_float64() -> None:
    assert_same_with_and_without([METHODS["vera"]] * 3, [0, 1, 2], torch.float64)


@pytest.mark.parametrize("streams", [[0, 1, 0, 1, 0, 1], [0, 1, 2, 3, 4, 5], [0, 1, 0, 2, 0, 3]])
def test_methods_side_by_side_share_what_is_known(streams: list[int]) -> None:
    names = ["lora", "lora", "vera", "vera", "ia3", "ia3"]
    first = assert_same_with_and_without([METHODS[name] for name in names], streams)
    assert first.needs_images
    assert not assert_same_with_and_without(
        [METHODS[name] for name in ["vera", "vera", "ia3", "ia3", "svft", "svft"]], streams
    ).needs_images


def test_lanes_that_have_left() -> None:
    """Those that looked at images may have been the ones that left."""
    data, names = batches(), ["lora", "vera", "ia3"]
    outcomes = []
    for epochs in (40, 0):
        pack = pack_of([METHODS[name] for name in names], [0, 1, 2])
        first = FirstProducts(pack, data, CPU, epochs)
        before = trained(pack, data, first, epochs=1)
        pack.keep([1, 2])
        first.begin()
        outcomes.append([*before, *trained(pack, data, first, epochs=1)])
        assert first.needs_images == (epochs == 0)
    assert all(map(torch.equal, *outcomes))


@pytest.mark.parametrize("options", [{"crop": 1}, {"flip": True}, {"workers": 1}], ids=str)
def test_images_that_change_are_left_alone(options: dict[str, Any]) -> None:
    first = FirstProducts(pack_of([METHODS["vera"]] * 2, [0, 1]), batches(**options), CPU, 40)
    assert first.gib == 0
    assert first.needs_images


def test_what_is_read_once_is_not_kept() -> None:
    data = batches()
    assert FirstProducts(pack_of([METHODS["vera"]] * 2, [0, 0]), data, CPU, epochs=1).gib == 0


def test_more_than_there_is_room_for_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    where = "adapterlab.training.packed.first_products.MOST_BYTES"
    monkeypatch.setattr(where, ROWS * (9 + 8) * 4)
    assert FirstProducts(pack_of([METHODS["vera"]] * 2, [0, 1]), batches(), CPU, 40).gib == 0


def test_products_that_are_not_the_same_are_not_used() -> None:
    """Another machine's library may round a row otherwise in a larger product."""
    data = batches()
    pack, without = (pack_of([METHODS["vera"]] * 2, [0, 1]) for _ in range(2))
    first = FirstProducts(pack, data, CPU, 40)
    assert not first.needs_images
    for table in first._tables["train"].values():
        table += 1e-6
    assert {batch.known for batch in first.training_batches([(0, 0), (1, 0)])} == {None}
    expected = trained(without, data, FirstProducts(without, data, CPU, 0))
    assert all(map(torch.equal, trained(pack, data, first), expected))


def test_a_run_may_do_without(tmp_path: Any) -> None:
    """It is one more frozen prefix, and `hardware.frozen_prefix` says of all whether they are."""
    strategies = [replace(METHODS["vera"], rank=rank) for rank in (4, 8)]  # type: ignore[arg-type]
    assert FirstProducts(pack_of(strategies, [0, 1]), batches(), CPU, epochs=0).gib == 0


def test_it_is_said() -> None:
    first = FirstProducts(pack_of([METHODS["vera"]] * 2, [0, 1]), batches(), CPU, 40)
    own = "frozen products of the first layer once, 0.00 GiB, images are not read"
    assert first.described() == own
    prefix = Prefix(0, "model=mlp gives no hidden states", 0.0, 0.0, first_token_only=False)
    assert prefix.beside(own).described() == f"off: model=mlp gives no hidden states; {own}"
    assert prefix.beside("") == prefix


def test_a_pack_that_others_join_computes_only_what_is_new() -> None:
    """Of frozen matrices that the pack before knows, not a row is computed again."""
    data = batches()
    models = [
        METHODS[name].apply(
            MLP(SHAPE, CLASSES, widths=(9, 7), generator=torch.Generator().manual_seed(3)), seed=n
        )
        for n, name in enumerate(("vera", "lora", "ia3"))
    ]
    share_frozen(models)
    first = FirstProducts(PackedModel(models[:1], [0]).train(), data, CPU, 8)
    later = PackedModel(models, [(0, 1), (0, 0), (0, 0)]).train()
    known = FirstProducts(later, data, CPU, 8, first)
    anew = FirstProducts(later, data, CPU, 8)
    for split, tables in anew._tables.items():
        assert known._tables[split].keys() == tables.keys()
        for key, table in tables.items():
            assert torch.equal(known._tables[split][key], table)
        shared = tables.keys() & first._tables[split].keys()
        assert shared
        for key in shared:
            assert known._tables[split][key] is first._tables[split][key]
