"""Which runs share a pack, and why others stay alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapterlab.config.schema import Config
from adapterlab.studies.planning import packing
from adapterlab.studies.planning.packing import PlannedPack, plan_packs
from lab import tiny

Compose = Callable[..., Config]


@pytest.fixture
def image(tmp_path: Path) -> Compose:
    return lambda *options: tiny(tmp_path, *options)


@pytest.fixture
def text(tmp_path: Path) -> Compose:
    return lambda *options: tiny(
        tmp_path, "model=bert_tiny", "dataset=text_files", "dataset.loader.path=there",
        "dataset.classes=[a,b]", "base=scratch", *options,
    )  # fmt: skip


def planned(*configs: Config, memory_gib: float = 16) -> list[PlannedPack]:
    return plan_packs(configs, [None] * len(configs), memory_gib)


def jobs(packs: list[PlannedPack]) -> list[tuple[int, ...]]:
    return [pack.jobs for pack in packs]


@pytest.mark.parametrize(
    "option",
    [
        "adapter.rank=2", "adapter.alpha=3", "adapter.scaling=alpha", "adapter.init=gaussian",
        "adapter.dropout=0.2", "adapter.rank_pattern={layers.0: 3}", "optimizer.lr=0.5",
        "optimizer.weight_decay=0.3", "optimizer.schedule=cosine", "optimizer.clip_norm=1.0",
        "seed=3", "init_seed=3", "order_seed=3", "early_stopping=2", "select_on=loss",
        "adapter.targets=[layers.0]",
        # Another method at the same places.
        "adapter=dora", "adapter=full", "adapter=bitfit", "adapter.head=adapt",
    ],
)  # fmt: skip
def test_lanes_may_differ_in(option: str, image: Compose) -> None:
    (pack,) = planned(image(), image(option))
    assert pack.packed
    assert pack.jobs == (0, 1)


@pytest.mark.parametrize(
    "option",
    [
        "adapter=head", "adapter.head=freeze", "epochs=3", "batch_size=8",
        "optimizer=sgd", "label_smoothing=0.1", "loss.focal_gamma=2",
        "loss.class_weights=balanced", "sampling=balanced",
        "limit=64", "dataset.std=[0.3]", "base.seed=1",
        "model.dropout=0.1", "study=other", "hardware.precision=64-true", "dataset=digits",
    ],
)  # fmt: skip
def test_lanes_may_not_differ_in(option: str, image: Compose) -> None:
    packs = planned(image(), image(option))
    assert jobs(packs) == [(0,), (1,)]
    for pack in packs:
        assert not pack.packed
        assert (
            pack.why == "no other run trains the same parameters of the same base, in the same way"
        )


def test_texts_in_two_orders_say_what_keeps_them_apart(text: Compose) -> None:
    """Two seeds of `head` train the same parameters of the same base: it was said that none did."""
    runs = (text("adapter=head", f"order_seed={seed}", "pack=auto") for seed in (0, 1))
    for pack in planned(*runs):
        assert not pack.packed
        assert pack.why.endswith("in the same way, which of texts takes one order_seed")


METHODS = ("adapter=lora", "adapter=dora", "adapter=bitfit", "adapter=lora", "adapter=dora")


@pytest.mark.parametrize(
    ("at_once", "expected"),
    [(1, [(0, 1, 2, 3, 4)]), (2, [(0, 1, 3), (2, 4)]), (9, [(0, 3), (1, 4), (2,)])],
)
def test_several_methods_are_packs_enough_for_all_processes(
    at_once: int, expected: list[tuple[int, ...]], image: Compose
) -> None:
    configs = [image(option) for option in METHODS]
    packs = plan_packs(configs, [None] * len(configs), 16, at_once=at_once)
    assert jobs(packs) == expected
    if at_once == 1:
        assert packs[0].why == "lora, dora and bitfit on one frozen base"


def test_one_method_is_one_pack_whatever_could_be_done_at_once(image: Compose) -> None:
    configs = [image(f"adapter.rank={rank}") for rank in (1, 2, 3, 4)]
    assert jobs(plan_packs(configs, [None] * 4, 16, at_once=4)) == [(0, 1, 2, 3)]


@pytest.mark.parametrize(
    ("nodes", "lanes"),
    [(1, [64, 24]), (2, [64, 24]), (5, [24, 22, 21, 21]), (8, [13, 13, 13, 13, 12, 12, 12])],
)
def test_packs_are_split_for_nodes_that_are_free(
    nodes: int, lanes: list[int], image: Compose
) -> None:
    configs = [image(f"seed={seed}") for seed in range(64)]
    configs += [image("epochs=3", f"seed={seed}") for seed in range(24)]
    packs = plan_packs(configs, [None] * len(configs), 16, nodes=nodes)
    assert sorted((len(pack.jobs) for pack in packs), reverse=True) == lanes
    assert sorted(job for pack in packs for job in pack.jobs) == list(range(88))


def test_the_last_round_has_something_for_all_nodes(image: Compose) -> None:
    configs = [image(f"seed={seed}") for seed in range(160)]  # three packs, for two nodes
    packs = plan_packs(configs, [None] * 160, 16, nodes=2)
    assert [len(pack.jobs) for pack in packs] == [40] * 4


def test_packs_are_not_split_below_what_makes_them_worth_while(image: Compose) -> None:
    configs = [image(f"seed={seed}") for seed in range(20)]
    packs = plan_packs(configs, [None] * 20, 16, nodes=1000)
    assert [len(pack.jobs) for pack in packs] == [10, 10]


def test_layers_of_different_depth_are_different_parameters(image: Compose) -> None:
    three = ("model.widths=[8,8,8]", "adapter=last_layers")
    packs = planned(*(image(*three, f"adapter.n={n}") for n in (1, 2, 1, 2)))
    assert jobs(packs) == [(0, 2), (1, 3)]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["pack=never"], "pack=never"),
        (["hardware.compile=true"], "hardware.compile=true compiles one model"),
        (["hardware.recompute=true"], "hardware.recompute=true computes the blocks"),
        (["accumulate=2"], "accumulate=2: a pack takes a step with every batch"),
        (["adapter=full", "model.widths=[8000]"], "weights of the model itself are trained"),
    ],
)
def test_why_a_run_is_alone(options: list[str], why: str, image: Compose) -> None:
    packs = planned(image(*options), image(*options, "seed=1"))
    assert jobs(packs) == [(0,), (1,)]
    assert all(why in pack.why and not pack.packed for pack in packs)


def test_pack_always_packs_what_auto_leaves_alone(image: Compose) -> None:
    large = ("adapter=full", "model.widths=[8000]", "pack=always")
    (pack,) = planned(image(*large), image(*large, "seed=1"))
    assert pack.packed
    (alone,) = planned(image("pack=always"))
    assert alone.packed
    assert alone.jobs == (0,)


def test_texts_share_what_is_frozen_or_stay_alone_on_a_cpu(text: Compose) -> None:
    everywhere = [text(f"adapter.rank={rank}") for rank in (1, 2)]
    assert jobs(planned(*everywhere)) == [(0,), (1,)]
    assert "all 2 layers are trained or adapted" in planned(*everywhere)[0].why
    always = [text(f"adapter.rank={rank}", "pack=always") for rank in (1, 2)]
    assert jobs(planned(*always)) == [(0, 1)]
    last = [text(f"adapter.rank={rank}", "adapter.layers=last 1") for rank in (1, 2)]
    assert jobs(planned(*last)) == [(0, 1)]
    head = [text("adapter=head", f"optimizer.lr={lr}") for lr in (0.1, 0.2)]
    assert jobs(planned(*head)) == [(0, 1)]


def test_texts_of_two_orders_are_two_packs(text: Compose) -> None:
    head = ("adapter=head", "init_seed=0")
    packs = planned(*(text(*head, f"seed={seed}", f"optimizer.lr=0.{seed + 1}") for seed in (0, 1)))
    assert jobs(packs) == [(0,), (1,)]


def test_a_random_base_is_shared_by_runs_of_one_init_seed(image: Compose) -> None:
    packs = planned(
        *(image("base=scratch", *o) for o in (["seed=0"], ["seed=1"], ["order_seed=1"]))
    )
    assert jobs(packs) == [(0, 2), (1,)]
    # What is trained in full needs no common base.
    full = [image("base=scratch", "adapter=full", f"seed={seed}") for seed in (0, 1)]
    assert jobs(planned(*full)) == [(0, 1)]


@pytest.mark.parametrize(
    ("options", "packs"),
    [
        (["adapter.head=freeze", "base.head=new"], [(0, 2), (1, 3)]),
        (["adapter.head=adapt", "base.head=new"], [(0, 2), (1, 3)]),  # LoRA over a drawn head
        (["adapter=bitfit", "adapter.head=adapt", "base.head=new"], [(0, 2), (1, 3)]),
        (["adapter=full", "adapter.head=freeze", "base.head=new"], [(0, 2), (1, 3)]),
        (["adapter.head=freeze", "base=checkpoint", "base.path=there"], [(0, 2), (1, 3)]),
        (["adapter.head=train", "base.head=new"], [(0, 1, 2, 3)]),
        (["adapter.head=freeze", "base.head=auto"], [(0, 1, 2, 3)]),  # the classes are the same
        (["adapter.head=freeze", "base.head=keep"], [(0, 1, 2, 3)]),
    ],
)
def test_a_drawn_head_that_stays_frozen_is_shared_by_runs_of_one_init_seed(
    options: list[str], packs: list[tuple[int, ...]], image: Compose
) -> None:
    configs = [image(*options, f"init_seed={k % 2}", f"optimizer.lr=0.0{k + 1}") for k in range(4)]
    assert jobs(planned(*configs)) == packs


def test_a_pack_that_would_not_fit_is_split_evenly(image: Compose) -> None:
    configs = [image(f"adapter.rank={rank}") for rank in range(1, 11)]
    (whole,), (four,) = planned(*configs), planned(*configs[-4:])
    assert four.gib < whole.gib
    three = planned(*configs, memory_gib=four.gib)
    assert [len(pack.jobs) for pack in three] == [4, 3, 3]
    assert all(pack.gib <= four.gib for pack in three)
    assert three[1].why.endswith("part 2 of 3")
    # What does not fit even alone is still carried out, lane by lane.
    ones = planned(*configs, memory_gib=1e-9)
    assert jobs(ones) == [(i,) for i in range(10)]


def test_a_pack_has_no_more_than_the_most_lanes(
    image: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MOST_LANES", 4)
    packs = planned(*(image(f"seed={seed}") for seed in range(9)))
    assert [len(pack.jobs) for pack in packs] == [3, 3, 3]
