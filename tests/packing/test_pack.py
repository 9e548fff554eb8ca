"""The law of packs at the level of modules: a lane computes what its model computes alone."""

import copy
from collections.abc import Callable

import pytest
import torch
from adapter_cases import CLASSES, MODELS, ROWS, build
from lanes_law import BOUND, assert_lanes_train_as_alone, batches, lane_models
from torch import Tensor, nn
from transformer_cases import encoder

import adapterlab.base.torchvision_compat  # noqa: F401  # before torchvision
from adapterlab.adapters import AdaptedModel, Full, Head, LastLayers, LoRA, Strategy
from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP
from adapterlab.packing import CannotPackError, PackedModel, share_frozen, signature
from adapterlab.packing.trial import try_out

# isort: split

from torchvision.ops import StochasticDepth

STEPS = 300
FEW = 8

CASES = [
    *((strategy, model, [0, 0, 1]) for strategy in ROWS for model in MODELS),
    *((strategy, list(MODELS)[i % len(MODELS)], [0, 0]) for i, strategy in enumerate(ROWS)),
    *((strategy, list(MODELS)[(i + 1) % len(MODELS)], [0, 1]) for i, strategy in enumerate(ROWS)),
]
"""Every row on every model, of three lanes, of which two read the same; every row with lanes that
all read the same, and with lanes of which each reads its own, on one model of many rows."""


def trains_whole_norms(adapted: AdaptedModel) -> bool:
    norms = [m for m in adapted.modules() if isinstance(m, nn.BatchNorm1d)]
    return any(all(p.requires_grad for p in norm.parameters()) for norm in norms)


def assert_the_law(strategy: str, model: str, streams: list[int], steps: int) -> None:
    if not ROWS[strategy].fits(model):
        with pytest.raises(ConfigError):
            lane_models(model, [strategy])
        return
    models = lane_models(model, [strategy] * len(streams))
    if ROWS[strategy].alone:
        with pytest.raises(CannotPackError, match="has no batched counterpart"):
            signature(models[0])
        return
    if trains_whole_norms(models[0]):
        with pytest.raises(CannotPackError, match="norm keeps statistics of the batch"):
            signature(models[0])
        return
    share_frozen(models)
    fresh = lane_models(model, [strategy] * len(streams))
    assert_lanes_train_as_alone(PackedModel(models, streams), fresh, streams, steps)


@pytest.mark.parametrize(("strategy", "model", "streams"), CASES, ids=str)
def test_a_lane_trains_as_its_model_does_alone(
    strategy: str, model: str, streams: list[int]
) -> None:
    assert_the_law(strategy, model, streams, steps=FEW)


@pytest.mark.parametrize("strategy", ["full", "last_layers-2", "bitfit", "lora-dropout", "dora"])
def test_nine_lanes_over_hundreds_of_steps(strategy: str) -> None:
    """The first step proves nothing for low-rank updates: B is zero."""
    assert_the_law(strategy, "mlp", [0, 0, 0, 1, 1, 1, 2, 2, 2], STEPS)


@pytest.mark.parametrize("streams", [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1]], ids=str)
def test_streams_that_as_many_lanes_read_and_others(streams: list[int]) -> None:
    assert_the_law("lora", "mlp", streams, steps=20)


def test_lanes_that_leave_do_not_change_the_others() -> None:
    models = lane_models("mlp", ["lora"] * 3)
    share_frozen(models)
    pack = PackedModel(models, [0, 1, 2])
    states = [{k: v.clone() for k, v in pack.lane_state(lane).items()} for lane in range(3)]
    pack.keep([0, 2])
    assert pack.lanes.read == [0, 1]
    for lane, before in enumerate((states[0], states[2])):
        after = pack.lane_state(lane)
        assert all(torch.equal(after[name], before[name]) for name in before)
    x, _ = batches(0, 0)
    logits = pack.eval()(x, rows=12, together=True)
    for lane, model in enumerate((models[0], models[2])):
        torch.testing.assert_close(logits[lane], model.eval()(x), rtol=BOUND, atol=BOUND)


def test_frozen_weights_are_there_once() -> None:
    models = lane_models("mlp", ["lora"] * 3)
    share_frozen(models)
    pack = PackedModel(models, [0, 0, 0])
    shared = models[0].model.get_submodule("layers.0").base.weight
    assert models[2].model.get_submodule("layers.0").base.weight is shared
    assert pack.model.get_submodule("layers.0").base.weight is shared


def test_other_base_weights_are_refused() -> None:
    models = [LoRA(rank=2).apply(build(MODELS["mlp"], seed=seed)) for seed in (0, 1)]
    with pytest.raises(CannotPackError, match=r"layers\.0\.base\.weight is frozen and differs"):
        share_frozen(models)


OTHERS = [LoRA(rank=2, head="freeze"), LoRA(rank=2, targets=["layers.0"]), Head()]


@pytest.mark.parametrize("other", OTHERS)
def test_models_that_train_other_parameters_are_refused(other: Strategy) -> None:
    models = [strategy.apply(build(MODELS["mlp"])) for strategy in (LoRA(rank=2), other)]
    with pytest.raises(CannotPackError, match="they train different parameters"):
        PackedModel(models, [0, 0])


class Doubled(nn.Linear):
    """A layer of its own kind, of which packs know nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def with_layer(layer: nn.Module) -> nn.Module:
    model = MLP((5,), CLASSES, widths=(8, 6))
    model.layers[1] = layer
    return model


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: with_layer(Doubled(8, 6)), "Doubled has no batched counterpart"),
        (lambda: with_layer(nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6))), "layers.1.1 keeps"),
        (lambda: with_layer(nn.Sequential(nn.Linear(8, 6), nn.AlphaDropout())), "AlphaDropout"),
        (lambda: with_layer(nn.Sequential(nn.Linear(8, 6), StochasticDepth(0.1, "row"))), "Stoch"),
    ],
)
def test_what_has_no_counterpart_is_refused(model: Callable[[], nn.Module], why: str) -> None:
    with pytest.raises(CannotPackError, match=why):
        signature(Full().apply(model()))


def test_embeddings_trained_beside_the_updates_are_refused() -> None:
    strategy = LoRA(rank=2, targets="query", also_train=["*", "!*attention*"])
    with pytest.raises(CannotPackError, match="Embedding has no batched counterpart"):
        signature(strategy.apply(encoder("bert")))


def test_statistics_beside_what_is_trained_are_refused() -> None:
    model = with_layer(nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6, affine=False)))
    with pytest.raises(CannotPackError, match=r"layers.1.1 keeps statistics of the batch"):
        signature(LastLayers(n=2).apply(model))


def test_tied_weights_are_refused() -> None:
    model = MLP((5,), CLASSES, widths=(6, 6, 6))
    model.layers[2].weight = model.layers[1].weight
    with pytest.raises(CannotPackError, match="share trained weights"):
        signature(Full().apply(model))


def test_a_signature_needs_no_weights() -> None:
    with torch.device("meta"):
        without = MLP((5,), CLASSES, widths=(8, 6))
    planned = LoRA(rank=3).apply(without)
    real = LoRA(rank=1, alpha=5).apply(MLP((5,), CLASSES, widths=(8, 6)))
    assert signature(planned) == signature(real)


class Mixing(MLP):
    """A model that looks at all rows at once, which no name gives away."""

    is_chain = False

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


@pytest.mark.parametrize("kind", [MLP, Mixing])
def test_a_model_that_mixes_rows_is_found_out(kind: type[MLP]) -> None:
    generator = torch.Generator().manual_seed(0)
    base = kind((5,), CLASSES, widths=(8, 6), generator=generator)
    models = [LoRA(rank=2, init="both_normal").apply(copy.deepcopy(base), seed=i) for i in range(3)]
    share_frozen(models)
    x, labels = torch.randn(6, 5, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2])
    if kind is MLP:
        try_out(models, x, labels)
        return
    with pytest.raises(CannotPackError, match="logits differ by"):
        try_out(models, x, labels)


@pytest.mark.parametrize("broken", [{0}, {1, 2}])
def test_a_lane_of_broken_numbers_does_not_give_up_the_pack(broken: set[int]) -> None:
    models = lane_models("mlp", ["lora"] * 3)
    share_frozen(models)
    x, labels = batches(0, 0)
    for lane in broken:
        next(iter(models[lane].trainable().values())).data.fill_(torch.nan)
    assert try_out(models, x, labels) == [lane for lane in range(3) if lane not in broken]


def test_a_pack_of_which_nothing_can_be_compared_is_given_up() -> None:
    models = lane_models("mlp", ["lora"] * 2)
    share_frozen(models)
    x, labels = batches(0, 0)
    with pytest.raises(CannotPackError, match="no run's first logits and gradients are finite"):
        try_out(models, x * torch.inf, labels)
