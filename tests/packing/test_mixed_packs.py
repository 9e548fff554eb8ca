"""Several methods side by side in one pack: the law of packs holds for each of their lanes."""

from collections.abc import Sequence

import pytest
import torch
from adapter_cases import MODELS, build
from lanes_law import BOUND, assert_lanes_train_as_alone, batches, lane_models

from adapterlab.adapters import AdaptedModel, DoRA, FrozenLoRA, LoRA, Strategy
from adapterlab.packing import CannotPackError, PackedModel, share_frozen, signature
from adapterlab.packing.groups import LaneGroups
from adapterlab.packing.trial import try_out

MIXTURES = {
    "low-rank": ("lora", "lora", "dora", "dora", "dora-per-input"),
    "interleaved": ("lora", "dora", "lora", "dora"),
    "projections": ("lora-dropout", "vera", "vera", "dora-dropout"),
    "whole-weights": ("full", "lora", "bitfit", "vera"),
    "full-last": ("dora", "bitfit", "full"),
    "first-updates": ("first-update", "lora", "first-update", "vera"),
}
STREAMS = {
    "shared": [0, 0, 0, 0, 0],
    "ascending": [0, 0, 1, 1, 2],
    "each-its-own": [3, 1, 4, 0, 2],
    "again": [0, 1, 0, 1, 0],
}


def packed(model: str, strategies: Sequence[str], streams: list[int]) -> PackedModel:
    models = lane_models(model, strategies)
    share_frozen(models)
    return PackedModel(models, streams)


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_lane_trains_as_its_model_does_alone(mixture: str, streams: str) -> None:
    strategies = MIXTURES[mixture]
    read = STREAMS[streams][: len(strategies)]
    pack = packed("mlp", strategies, read)
    assert any(isinstance(module, LaneGroups) for module in pack.modules())
    assert_lanes_train_as_alone(pack, lane_models("mlp", strategies), read, 20)


@pytest.mark.parametrize("model", ["encoder", "convolutional"])
def test_other_models(model: str) -> None:
    strategies = ("lora", "dora", "vera", "dora") if model == "encoder" else ("lora", "dora")
    read = [0, 1, 1, 0][: len(strategies)]
    pack = packed(model, strategies, read)
    assert_lanes_train_as_alone(pack, lane_models(model, strategies), read, 20)


def test_nine_lanes_over_hundreds_of_steps() -> None:
    strategies = ("lora", "lora-dropout", "dora", "dora", "vera", "bitfit", "full", "vera", "lora")
    streams = [0, 1, 0, 1, 2, 2, 0, 1, 2]
    pack = packed("mlp", strategies, streams)
    assert_lanes_train_as_alone(pack, lane_models("mlp", strategies), streams, 300)


@pytest.mark.parametrize("left", [[0, 3, 4], [3, 4], [1], [2, 5], [0, 1, 2, 3, 4, 5]], ids=str)
def test_lanes_that_leave_do_not_change_the_others(left: list[int]) -> None:
    strategies = ("lora", "lora", "dora", "vera", "vera", "full")
    models = lane_models("mlp", strategies)
    share_frozen(models)
    streams = [0, 1, 1, 0, 2, 1]
    pack = PackedModel(models, streams)
    parts = {name: module for name, module in pack.lane_modules() if name == "layers.0"}
    before = [{k: v.clone() for k, v in pack.lane_state(lane).items()} for lane in range(6)]
    pack.keep(left)
    assert parts
    assert pack.lanes.read == [
        list(dict.fromkeys(streams[lane] for lane in left)).index(streams[lane]) for lane in left
    ]
    for lane, old in enumerate(left):
        after = pack.lane_state(lane)
        assert after.keys() == before[old].keys()
        assert all(torch.equal(after[name], value) for name, value in before[old].items())
    read = [batches(stream, 0)[0] for stream in dict.fromkeys(streams[lane] for lane in left)]
    apart = pack.eval()(torch.cat(read), rows=12)
    together = pack(batches(5, 0)[0], rows=12, together=True)
    for lane, old in enumerate(left):
        model = models[old].eval()
        for logits, stream in ((apart, streams[old]), (together, 5)):
            expected = model(batches(stream, 0)[0])
            torch.testing.assert_close(logits[lane], expected, rtol=BOUND, atol=BOUND)


EVERY = (
    "full", "bitfit", "lora", "lora_plus", "lora_fa", "lora-pissa", "dora-corda", "dora-per-input",
    "vera", "lora_xs", "svft", "adalora", "ia3", "ssf", "oft", "boft", "shira", "gps",
    "frozen_lora", "reft", "hira", "loha", "lokr", "miss", "delora", "fourierft", "hra",
)  # fmt: skip


def test_every_method_that_adapts_all_layers_is_a_lane_of_one_pack() -> None:
    streams = [lane % 3 for lane in range(len(EVERY))]
    pack = packed("mlp", EVERY, streams)
    assert_lanes_train_as_alone(pack, lane_models("mlp", EVERY), streams, 10)


def test_a_trial_compares_every_lane() -> None:
    models = lane_models("mlp", ("lora", "dora", "full"))
    share_frozen(models)
    x, labels = batches(0, 0)
    assert try_out(models, x, labels) == [0, 1, 2]


@pytest.mark.parametrize("streams", [[0, 0, 0, 0, 0], [0, 1, 0, 1, 1]], ids=str)
def test_lanes_that_share_what_a_layer_gives_beside_others(streams: list[int]) -> None:
    """Updates that are drawn from one seed and never trained are the same in all lanes."""

    def made() -> list[AdaptedModel]:
        strategies = (FrozenLoRA(), FrozenLoRA(), LoRA(rank=2), LoRA(rank=1), FrozenLoRA())
        return [s.apply(build(MODELS["mlp"], dtype=torch.float64), seed=7) for s in strategies]

    models = made()
    share_frozen(models)
    assert_lanes_train_as_alone(PackedModel(models, streams), made(), streams, 20)


def test_frozen_weights_are_there_once_whatever_wraps_them() -> None:
    models = lane_models("mlp", ("bitfit", "lora", "dora", "vera"))
    share_frozen(models)
    shared = models[0].model.get_submodule("layers.0").weight
    for model in models[1:]:
        assert model.model.get_submodule("layers.0").base.weight is shared


@pytest.mark.parametrize(
    ("first", "other"), [(LoRA(rank=2), DoRA(rank=2)), (DoRA(rank=2), LoRA(rank=2))]
)
def test_other_base_weights_are_refused(first: Strategy, other: Strategy) -> None:
    models = [s.apply(build(MODELS["mlp"], seed=i)) for i, s in enumerate((first, other))]
    with pytest.raises(CannotPackError, match=r"layers\.0\.base\.weight is frozen and differs"):
        share_frozen(models)


def test_a_base_that_another_lane_trains_is_compared_as_well() -> None:
    full, lora = lane_models("mlp", ("full", "lora"))
    lora.model.get_submodule("layers.0").base.weight.data += 1
    with pytest.raises(CannotPackError, match="is frozen and differs"):
        share_frozen([full, lora])


def test_methods_at_the_same_places_have_common_ground() -> None:
    same = {signature(model).ground for model in lane_models("mlp", ("lora", "dora", "vera"))}
    assert len(same) == 1
    parts = {signature(model).parts for model in lane_models("mlp", ("lora", "dora", "vera"))}
    assert len(parts) == 3
