"""The presets of conf/experiment: each can be carried out, and trains what was published."""

import itertools
import shlex
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import DistilBertConfig, PretrainedConfig, RobertaConfig

from adapterlab.adapters import ParameterCount
from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.config.schema import Config, TrainedBase
from adapterlab.models.hub import MINILM_PACKAGE
from adapterlab.models.timm_images import LITE0_PACKAGE
from adapterlab.runs.check import check
from adapterlab.runs.identity import arm_hash, run_name
from adapterlab.studies.sweeps.union import jobs_of
from adapterlab.studies.tuning.study import Design
from lab import compose as compose_anew

EXPERIMENT = conf_folder.CONF / "experiment"
NAMES = [str(p.relative_to(EXPERIMENT).with_suffix("")) for p in sorted(EXPERIMENT.rglob("*.yaml"))]
NEEDS_MINILM = pytest.mark.skipif(
    find_spec(MINILM_PACKAGE) is None, reason="MiniLM is not installed"
)
NEEDS_LITE0 = pytest.mark.skipif(
    find_spec(LITE0_PACKAGE) is None, reason="EfficientNet-Lite0's weights are not installed"
)
NEEDS = {"_text": NEEDS_MINILM, "efficientnet_cifar10": NEEDS_LITE0}
"""What the models of presets come from that no installation for tests has to have."""

ON_THE_HUB = [n for n in NAMES if "distilbert" in n or "roberta" in n or n == "glue"]

HUB: dict[str, PretrainedConfig] = {
    "distilbert-base-uncased": DistilBertConfig(vocab_size=30_522),
    "roberta-base": RobertaConfig(
        vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1
    ),
}
"""What the hub has of the models, weights aside."""

Checked = Callable[..., ParameterCount]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each model of the hub, so that no test needs a network."""
    places = {}
    for name, config in HUB.items():
        places[name] = tmp_path_factory.mktemp(name)
        config.save_pretrained(places[name])
    return places


@cache
def compose(*overrides: str) -> Config:
    """Compose a configuration, once for all tests that ask for it."""
    return compose_anew(Path("nowhere"), *overrides)


@cache
def trained_by(*overrides: str) -> ParameterCount:
    """Check a configuration as a run does before it reads data, and count what it would train."""
    # A rank for every layer takes a base to look at: one rank for all stands in for it.
    options = (
        "adapter.rank=8" if option == "adapter.rank=auto" else option for option in overrides
    )
    plan = check(compose(*options))
    assert plan is not None
    return plan.count


@pytest.fixture
def counted(folders: dict[str, Path]) -> Checked:
    """Return what counts the parameters of a configuration, models of the hub in folders here."""

    def count(*overrides: str) -> ParameterCount:
        if (name := compose(*overrides).model.get("name_or_path")) in folders:
            overrides += (f"model.name_or_path={folders[name]}",)
        return trained_by(*overrides)

    return count


@cache
def sweeper(name: str) -> DictConfig:
    """Return the options of the sweeper of `-m experiment=NAME`."""
    with composing(conf_folder.CONF):
        cfg = hydra.compose("train", [f"experiment={name}"], return_hydra_config=True)
    options: DictConfig = cfg.hydra.sweeper
    return options


@cache
def sweep(name: str) -> list[tuple[str, ...]]:
    """Return the overrides of each job that `-m experiment=NAME` starts, without tuned values."""
    options = sweeper(name)
    if "arms" in options:  # the tuned sweeper's
        return [tuple(shlex.split(arm)) for arm in options.arms]
    if "sweeps" in options:  # the union sweeper's
        return [tuple(job) for job in jobs_of(options.sweeps, [])]
    params = [f"{key}={value}" for key, value in options.params.items()]
    parsed = OverridesParser.create().parse_overrides(params)
    values = [
        [f"{o.key_or_group}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [o.input_line]
        for o in parsed
    ]
    return list(itertools.product(*values))


@pytest.mark.filterwarnings("ignore:rank .* is above its smaller side")
class TestEachPreset:
    @pytest.mark.parametrize(
        "name",
        [
            pytest.param(n, marks=[mark for end, mark in NEEDS.items() if n.endswith(end)])
            for n in NAMES
        ],
    )
    def test_every_arm_can_be_carried_out(self, name: str, counted: Checked) -> None:
        jobs = {tuple(o for o in job if "seed=" not in o) for job in sweep(name)}
        for job in {(), *jobs}:  # with and without -m
            assert counted(f"experiment={name}", *job).trainable > 0, job

    @NEEDS_MINILM
    @pytest.mark.parametrize("name", ON_THE_HUB)
    def test_minilm_can_take_the_place_of_a_model_of_the_hub(
        self, name: str, counted: Checked
    ) -> None:
        jobs = {tuple(o for o in job if not o.startswith("seed=")) for job in sweep(name)}
        for job in jobs:
            total = counted(f"experiment={name}", "model=minilm", *job).total
            assert 22_700_000 < total < 24_000_000, job

    @pytest.mark.parametrize("name", [n for n in NAMES if n.endswith("/controlled")])
    def test_controls_and_seeds_come_along(self, name: str) -> None:
        seeds: dict[tuple[str, ...], list[str]] = {}
        for job in sweep(name):
            (seed,) = (o for o in job if o.startswith("seed="))
            seeds.setdefault(tuple(o for o in job if o != seed), []).append(seed)
        assert all(own == [f"seed={n}" for n in range(5)] for own in seeds.values())
        runs = [compose(f"experiment={name}", *arm) for arm in seeds]
        assert len({arm_hash(run) for run in runs}) == len(runs)
        kinds = {(run.adapter["name"], run.base.kind) for run in runs}
        base = "pretrained" if name in ON_THE_HUB else "trained"
        assert kinds >= {("full", base), ("head", base), ("lora", base), ("full", "scratch")}
        labels = [run_name(run) for run in runs]
        assert len(labels) == len(set(labels)), "names of runs tell the arms apart"

    @pytest.mark.parametrize("name", [n for n in NAMES if n.endswith("/tuned")])
    def test_tuned_is_controlled_but_for_the_rates(self, name: str) -> None:
        controlled = name.replace("/tuned", "/controlled")

        def trained(experiment: str, arm: str) -> dict[str, Any]:
            config = asdict(compose(f"experiment={experiment}", arm))
            return {**config, "study": None, "optimizer": {**config["optimizer"], "lr": None}}

        arms = list(dict.fromkeys(job[0] for job in sweep(controlled)))
        assert {arm for (arm,) in sweep(name)} == set(arms)
        assert len(sweep(name)) == len(arms)
        for arm in arms:
            assert trained(name, arm) == trained(controlled, arm)

    @pytest.mark.parametrize("name", [n for n in NAMES if n.endswith("/tuned")])
    def test_the_rates_lie_around_those_of_controlled(self, name: str) -> None:
        options = sweeper(name)
        design = Design.of(options.arms, options.tune, options.tuning_seeds, options.seeds)
        assert design.seeds == (0, 1, 2, 3, 4)
        assert not {*design.seeds} & {*design.tuning_seeds}
        (rates,) = design.tune.values()
        assert list(design.tune) == ["optimizer.lr"]
        assert 4 <= len(rates) == len(set(rates))
        for (arm,) in design.arms:
            controlled = name.replace("/tuned", "/controlled")
            own = compose(f"experiment={controlled}", arm).optimizer.lr
            assert rates[0] <= own <= rates[-1], arm

    @pytest.mark.parametrize("name", [n for n in NAMES if "/" in n])
    def test_the_study_has_its_name(self, name: str) -> None:
        config = compose(f"experiment={name}")
        assert (config.study, config.resume) == (name.replace("/", "-"), True)
        assert f"-m experiment={name}\n" in (EXPERIMENT / f"{name}.yaml").read_text()


def test_variance_draws_one_thing_at_a_time() -> None:
    configs = [compose("experiment=variance", *job) for job in sweep("variance")]
    drawn = []
    for config in configs:
        assert isinstance(config.base, TrainedBase)
        cut = config.dataset.validation_seed
        drawn.append((config.init_seed, config.order_seed, cut, config.base.seed))
    assert len(drawn) == len(set(drawn)) == 37
    assert (0, 0, 0, 0) in drawn
    assert all(sum(map(bool, seeds)) <= 1 for seeds in drawn)
    assert [len({seeds[i] for seeds in drawn}) for i in range(4)] == [10] * 4
    assert "-m experiment=variance\n" in (EXPERIMENT / "variance.yaml").read_text()


def test_predict_rank_has_a_budget_for_every_rank() -> None:
    """Each is what one rank for all layers trains, so that ranks by layer have no more."""
    jobs = [job for job in sweep("predict_rank") if job[-1] == "seed=0"]
    ranks = [job for job in jobs if "adapter.rank=auto" not in job]
    budgets = [job[1] for job in jobs if "adapter.rank=auto" in job]
    trained = [trained_by("experiment=predict_rank", *job).trainable for job in ranks]
    assert [f"budget={count}" for count in trained] == budgets


@pytest.mark.parametrize(
    ("experiment", "arm", "optimizer", "rate", "schedule", "batch", "epochs"),
    [
        ("mnist_to_fashion", "lora_as_published", "sgd", 0.01, "constant", 64, 5),
        ("mnist_to_fashion", "full", "sgd", 0.01, "constant", 64, 5),
        ("cifar10_mlp", "dora_as_published", "adam", 0.005, "constant", 64, 10),
        ("tweet_sentiment_roberta", "full", "adamw", 2e-5, "linear", 16, 1),
        ("tweet_sentiment_roberta", "lora_as_published", "adamw", 2e-5, "linear", 16, 1),
        ("imdb_distilbert", "head", "adamw", 3e-4, "constant", 64, 3),
        ("imdb_distilbert", "full", "adamw", 5e-5, "constant", 64, 3),
        ("imdb_distilbert", "lora_as_published", "adamw", 5e-5, "constant", 100, 3),
        ("emotion_distilbert", "lora_as_published", "adam", 1e-4, "plateau", 16, 1),
    ],
)
def test_trained_as_published(
    experiment: str,
    arm: str,
    optimizer: str,
    rate: float,
    schedule: str,
    batch: int,
    epochs: int,
) -> None:
    """Of an arm's options and its experiment's, each comes through."""
    config = compose(f"experiment={experiment}/as_published", f"arm={experiment}/{arm}")
    used = config.optimizer
    assert (used.name, used.lr, used.schedule) == (optimizer, rate, schedule)
    assert (config.batch_size, config.epochs) == (batch, epochs)
    if isinstance(config.base, TrainedBase):
        own = config.base.optimizer
        assert (own.name, own.lr, config.base.batch_size) == (optimizer, rate, batch)
        assert config.base.epochs == {"mnist_to_fashion": 5, "cifar10_mlp": 2}[experiment]


@pytest.mark.filterwarnings("ignore:rank .* is above its smaller side")
class TestPublishedCounts:
    @pytest.mark.parametrize(
        ("experiment", "arm", "trainable"),
        [
            ("mnist_to_fashion/as_published", "lora_as_published", 10_410),
            ("mnist_to_fashion/as_published", "full", 101_770),
            ("mnist_to_fashion/controlled", "lora", 10_410),
            ("cifar10_mlp/as_published", "lora_as_published", 15_400),
            ("cifar10_mlp/as_published", "dora_as_published", 18_856),
            ("cifar10_mlp/controlled", "full", 428_938),
            ("cifar10_mlp/controlled", "dora", 15_794),
            ("cifar10_mlp/controlled", "dora_per_input", 18_856),
            ("tweet_sentiment_roberta/as_published", "full", 124_651_015),  # 124.6 M
            ("tweet_sentiment_roberta/as_published", "lora_as_published", 890_887),  # 0.89 M
            ("tweet_sentiment_roberta/controlled", "lora", 887_811),
            ("imdb_distilbert/as_published", "head", 592_130),
            ("imdb_distilbert/as_published", "full", 66_955_010),
            ("imdb_distilbert/as_published", "lora_as_published", 76_808),
            ("imdb_distilbert/controlled", "lora", 73_728 + 592_130),
            ("imdb_distilbert/controlled", "lora_key_value", 73_728 + 592_130),
        ],
    )
    def test_trained(self, experiment: str, arm: str, trainable: int, counted: Checked) -> None:
        chosen = f"arm={experiment.partition('/')[0]}/{arm}"
        assert counted(f"experiment={experiment}", chosen).trainable == trainable

    @pytest.mark.parametrize("rank", [1, 4, 8, 16])
    def test_all_without_attention_in_its_name(self, rank: int, counted: Checked) -> None:
        count = counted(
            "experiment=emotion_distilbert/as_published", f"adapter.parts.lora.rank={rank}"
        )
        attention = 6 * 4 * (768 * 768 + 768)
        updates = 6 * 2 * rank * (768 + 768)
        assert count.total - count.trainable == attention
        assert count.adapter == 66_362_880 - attention + updates
        assert round(100 * count.trainable / count.total) == 79
