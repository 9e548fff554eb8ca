"""What arms are called, that it lasts, and how an arm is found by what people call it."""

import itertools
from hashlib import sha256

import pytest

from adapterlab.base.errors import ConfigError
from adapterlab.reporting.reading.naming import tidy
from adapterlab.reporting.reading.reference import find_arm
from adapterlab.reporting.reading.study import Arm, Replicate, Run, arms_of

COUNTER = itertools.count(1)


def told(options: str | None, strategy: str = "lora", seed: int = 0, **params: str) -> Run:
    """A run whose arm is told by `options`, None for a run of before; its arm is all it says."""
    named = {} if options is None else {"arm_options": options or "none"}
    params = {key.replace("__", "."): value for key, value in params.items()}
    return Run(
        run_id=str(next(COUNTER)),
        arm=sha256(repr((options, strategy, sorted(params.items()))).encode()).hexdigest()[:12],
        tags={"strategy": strategy, "dataset": params.get("dataset.name", "digits"), **named},
        params={"init_seed": str(seed), **params},
        metrics={},
        replicate=Replicate(seed, seed),
        started=next(COUNTER),
    )


def names(*runs: Run) -> list[str]:
    return [arm.name for arm in arms_of(runs)]


NAMES = {
    "": "lora",
    "adapter=lora": "lora",
    "adapter=lora adapter.rank=4": "lora rank=4",
    "adapter=lora adapter.alpha=8 adapter.head=adapt adapter.rank=4": (
        "lora alpha=8 head=adapt rank=4"
    ),
    "adapter=lora optimizer.lr=1e-3": "lora optimizer.lr=1e-3",
    "adapter=lora 'adapter.targets=[query,value]'": "lora targets=[query, value]",
    "arm=cifar10_mlp/lora_as_published": "lora_as_published",
    "arm=cifar10_mlp/lora epochs=3": "lora epochs=3",
    "adapter=mine arm=cifar10_mlp/lora": "lora adapter=mine",
    "arm=null": "lora",
    "adapter=lora base=scratch": "lora from scratch",
    "adapter=lora base=pretrained": "lora base=pretrained",
    "+adapter.rank=4": "lora rank=4",
    "adapter=lora budget=1%": "lora budget=1%",
}


@pytest.mark.parametrize("options", NAMES)
def test_a_name_is_what_the_run_was_told(options: str) -> None:
    assert names(told(options)) == [NAMES[options]]


def test_names_last_when_the_study_grows() -> None:
    runs = [
        told("adapter=lora", optimizer__lr="0.001"),
        told("adapter=full", strategy="full"),
        told("adapter=lora adapter.rank=4", adapter__rank="4"),
        told("adapter=lora", optimizer__lr="0.01"),
        told("adapter=lora", optimizer__lr="0.01", epochs="3"),
        told("adapter=dora", strategy="dora"),
        told(None, strategy="full"),
        told(None, strategy="bitfit"),
    ]
    known: list[str] = []
    for count in range(1, len(runs) + 1):
        for order in (runs[:count], runs[count - 1 :: -1]):  # also if the store turns them round
            now = {arm.first.run_id: arm.name for arm in arms_of(order)}
            found = [now[run.run_id] for run in runs[:count]]
            assert found[: len(known)] == known
            assert len(set(found)) == count
        known = found
    assert known[:4] == ["lora", "full", "lora rank=4", "lora optimizer.lr=0.01"]


def test_a_repeated_arm_keeps_the_name_of_its_first_run() -> None:
    first = told("adapter=lora")
    again = told("adapter=lora adapter.rank=8", seed=1)
    again = Run(**{**vars(again), "arm": first.arm})
    for runs in ([first, again], [again, first]):
        assert names(*runs) == ["lora"]


def test_arms_that_differ_in_nothing_that_is_logged_are_named_by_their_hash() -> None:
    one, other = told("adapter=lora"), told("adapter=lora", hardware__precision="64-true")
    assert names(one, other) == ["lora", f"lora ({other.arm[:6]})"]
    exact = told("adapter=lora", hardware__precision="32-true")
    assert names(exact, other) == ["lora precision=32-true", "lora"]


def test_a_later_file_of_the_same_name_is_named_with_its_folder() -> None:
    assert names(told("arm=a/lora"), told("arm=b/lora"), told("arm=b/full")) == [
        "lora",
        "b/lora",
        "full",
    ]


def test_a_method_is_the_same_on_all_data_sets() -> None:
    arms = arms_of(
        [
            told("adapter=lora adapter.rank=4 dataset=mnist model=mlp", dataset__name="mnist"),
            told("adapter=lora adapter.rank=4 dataset=digits model=mlp", dataset__name="digits"),
        ]
    )
    assert [arm.name for arm in arms] == [
        "lora rank=4 dataset=mnist model=mlp",
        "lora rank=4 dataset=digits model=mlp",
    ]
    assert {arm.method for arm in arms} == {"lora rank=4"}


def test_methods_of_two_models_on_each_data_set_are_two() -> None:
    """One would have had the ranks of both, with the scores of one."""
    runs = [
        told(f"adapter=lora dataset={name} model={model}", dataset__name=name)
        for name in ("mnist", "digits")
        for model in ("mlp", "vit")
    ]
    methods = [(arm.first.dataset, arm.method) for arm in arms_of(runs)]
    assert methods == [
        ("mnist", "lora model=mlp"),
        ("mnist", "lora model=vit"),
        ("digits", "lora model=mlp"),
        ("digits", "lora model=vit"),
    ]
    odd = told("adapter=lora dataset=digits", dataset__name="digits")  # has nothing to leave out
    assert len({arm.method for arm in arms_of([*runs[2:], odd])}) == 3


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("['query', 'value']", "[query, value]"),
        ("[query,value]", "[query, value]"),
        ("{'layers.*': 4}", "{layers.*: 4}"),
        ("1e-05", "1e-5"),
        ("3e-4", "3e-4"),
        ("1E-3", "1E-3"),
        ("0.001", "0.001"),
        ("'a b'", "a b"),
        ("None", "None"),
    ],
)
def test_values_are_written_as_a_person_would(value: str, written: str) -> None:
    assert tidy(value) == written


@pytest.fixture
def arms() -> list[Arm]:
    return arms_of(
        [
            told("adapter=full", "full", adapter__head="train", optimizer__lr="0.001"),
            told("adapter=lora adapter.rank=4", adapter__rank="4", adapter__label="lora-r4-a16"),
            told("adapter=lora adapter.rank=8", adapter__rank="8", adapter__label="lora-r8-a16"),
            told(
                "adapter=dora 'adapter.targets=[query,value]'",
                "dora",
                adapter__targets="['query', 'value']",
                adapter__rank="8",
                optimizer__lr="0.003",
                optimizer__name="sgd",
            ),
        ]
    )


MEANT = {
    "full": "full",
    "lora rank=4": "lora rank=4",
    "  lora   rank=4 ": "lora rank=4",
    "rank=4": "lora rank=4",
    "lora adapter.rank=4.0": "lora rank=4",
    "lora-r8-a16": "lora rank=8",
    "dora": "dora targets=[query, value]",
    "dora targets=[query,value]": "dora targets=[query, value]",
    "dora optimizer.lr=3e-3": "dora targets=[query, value]",
    "lr=3e-3": "dora targets=[query, value]",
    "optimizer=sgd": "dora targets=[query, value]",
    "dora rank=8": "dora targets=[query, value]",
}


@pytest.mark.parametrize("text", MEANT)
def test_an_arm_is_found_by_what_it_is_called(text: str, arms: list[Arm]) -> None:
    assert find_arm(arms, text).name == MEANT[text]


def test_an_arm_is_found_by_its_hash_and_by_a_former_name(arms: list[Arm]) -> None:
    identity = arms[2].first.arm
    assert find_arm(arms, identity) is find_arm(arms, identity[:8]) is arms[2]
    former = told("adapter=head", "head")
    former = Run(**{**vars(former), "tags": {**former.tags, "arm_name": "only the head"}})
    (arm,) = arms_of([former])
    assert find_arm([*arms, arm], "only the head") is arm


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "lora",
            "reference=lora is 2 arms: lora rank=4, lora rank=8; name one in full, such as "
            "'reference=lora rank=4'",
        ),
        (
            "lora rank=16",
            "reference=lora rank=16 is no arm; allowed: dora targets=[query, value], full, "
            "lora rank=4, lora rank=8 (did you mean lora rank=8?); with quotes, as in "
            "'reference=dora targets=[query, value]'",
        ),
    ],
)
def test_what_means_no_arm_or_several_is_said(text: str, says: str, arms: list[Arm]) -> None:
    with pytest.raises(ConfigError) as caught:
        find_arm(arms, text)
    assert str(caught.value) == says
