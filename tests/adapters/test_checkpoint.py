"""Adapter checkpoints: what goes in comes out, and what does not belong is refused whole."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from adapter_cases import (
    FEATURES,
    MODELS,
    Case,
    assert_same,
    build,
    inputs,
    perturb,
    snapshot,
    train,
)
from convolutional import statistics_of_trained_norms
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from trial_strategies import FirstUpdate

from adapterlab.adapters import (
    AdaptedModel,
    BitFit,
    Combined,
    DoRA,
    Full,
    Head,
    LastLayers,
    LNTuning,
    LoRA,
    Strategy,
    VeRA,
    load_adapter,
    merge,
    read_metadata,
    save_adapter,
)
from adapterlab.base.errors import CheckpointError
from adapterlab.models import MLP


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "adapter.safetensors"


def adapt(strategy: Strategy, *, base_seed: int = 0, seed: int = 0) -> AdaptedModel:
    adapted = strategy.apply(build(MODELS["mlp"], seed=base_seed), seed=seed)
    perturb(adapted)
    return adapted


def refused(adapted: AdaptedModel, path: Path) -> str:
    """Assert that loading is refused in one line that names the file, and that nothing changed."""
    before = snapshot(adapted)
    with pytest.raises(CheckpointError) as caught:
        load_adapter(adapted, path)
    assert_same(snapshot(adapted), before)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


class TestRoundTrip:
    def test_a_fresh_model_gives_bit_equal_logits(self, case: Case, path: Path) -> None:
        trained = case.adapted(seed=1)
        train(trained, steps=3)
        save_adapter(trained, path)
        fresh = case.adapted(seed=2)
        x = inputs()
        if case.row.drawn.intersection(
            n.rpartition(".")[2] for n in fresh.frozen_state(saved=False)
        ):
            assert "trained beside another frozen" in refused(fresh, path)
            fresh = case.adapted(seed=1)
        assert not torch.equal(fresh.eval()(x), trained.eval()(x))
        load_adapter(fresh, path)
        assert torch.equal(fresh.eval()(x), trained.eval()(x))
        assert_same(snapshot(fresh), snapshot(trained))
        if case.strategy.mergeable:
            assert torch.equal(merge(fresh)(x), merge(trained)(x))

    def test_the_file_holds_what_was_trained_and_no_more(self, case: Case, path: Path) -> None:
        adapted = case.adapted()
        save_adapter(adapted, path)
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
        kept = adapted.frozen_state(saved=True).keys()
        assert names == set(adapted.trainable()) | statistics_of_trained_norms(adapted) | kept

    def test_a_loaded_model_trains_on(self, path: Path) -> None:
        save_adapter(adapt(LoRA(rank=2)), path)
        adapted = adapt(LoRA(rank=2), seed=1)
        trainable = set(adapted.trainable())
        load_adapter(adapted, path)
        assert set(adapted.trainable()) == trainable
        losses = train(adapted, steps=5)
        assert losses[-1] < losses[0]

    def test_a_trained_head_needs_no_equal_first_values(self, path: Path) -> None:
        base, other = build(MODELS["mlp"]), build(MODELS["mlp"])
        nn.init.normal_(other.head.weight)
        trained, fresh = LoRA(rank=2).apply(base), LoRA(rank=2).apply(other)
        perturb(trained)
        save_adapter(trained, path)
        load_adapter(fresh, path)
        assert torch.equal(fresh(inputs()), trained(inputs()))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_keeps_the_type(self, dtype: torch.dtype, path: Path) -> None:
        trained, fresh = (
            LoRA(rank=2).apply(build(MODELS["mlp"], dtype=dtype), seed=seed) for seed in (1, 2)
        )
        perturb(trained)
        save_adapter(trained, path)
        load_adapter(fresh, path)
        assert_same(snapshot(fresh), snapshot(trained))

    def test_running_statistics_come_along(self, path: Path) -> None:
        class Normalised(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Linear(FEATURES, 6)
                self.norm = nn.BatchNorm1d(6)
                self.head = nn.Linear(6, 3)
                self.head_modules, self.blocks = ("head",), ("body",)

            def forward(self, x: Tensor) -> Tensor:
                return self.head(self.norm(self.body(x)))

        trained, fresh = (LoRA(rank=2).apply(build(Normalised)) for _ in range(2))
        train(trained, steps=3)
        save_adapter(trained, path)
        load_adapter(fresh, path)
        assert torch.equal(fresh.eval()(inputs()), trained.eval()(inputs()))

    def test_metadata_says_what_it_is(self, path: Path) -> None:
        strategy = LoRA(rank=2, targets=["layers.*"], rank_pattern={"layers.0": 3})
        adapted = adapt(strategy)
        save_adapter(adapted, path, extra={"classes": ["cat", "dog"]})
        metadata = read_metadata(path)
        assert metadata["strategy"] == "LoRA"
        assert LoRA(**json.loads(metadata["options"])) == strategy
        assert metadata["base_sha256"] == adapted.base_hash
        assert json.loads(metadata["extra"]) == {"classes": ["cat", "dog"]}

    def test_a_failed_save_leaves_the_old_file_and_a_save_leaves_nothing_else(
        self, path: Path
    ) -> None:
        save_adapter(adapt(LoRA(rank=2)), path)
        before = path.read_bytes()
        with pytest.raises(TypeError):
            save_adapter(adapt(LoRA(rank=2), seed=1), path, extra={"x": object()})
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]


class TestFrozenState:
    def test_what_is_not_saved_leaves_a_fingerprint(self, path: Path) -> None:
        save_adapter(adapt(LoRA(rank=2)), path)
        assert "frozen" not in read_metadata(path)
        adapted = adapt(VeRA(rank=4))
        save_adapter(adapted, path)
        prints = json.loads(read_metadata(path)["frozen"])
        assert prints.keys() == adapted.frozen_state(saved=False).keys()
        assert prints["layers.0.vera_A"][0] == pytest.approx(
            adapted.model.layers[0].vera_A.norm().item()
        )

    def test_rounding_is_no_other_state(self, path: Path) -> None:
        save_adapter(adapt(VeRA(rank=4)), path)
        adapted = adapt(VeRA(rank=4))
        for tensor in adapted.frozen_state(saved=False).values():
            tensor.mul_(1 + 1e-6)
        load_adapter(adapted, path)

    def test_one_flipped_vector_is(self, path: Path) -> None:
        save_adapter(adapt(VeRA(rank=4)), path)
        adapted = adapt(VeRA(rank=4))
        adapted.model.layers[1].vera_A[2] *= -1
        assert "trained beside another frozen layers.0.vera_A than this model has" in refused(
            adapted, path
        )

    def test_another_seed_of_the_projections_is_another_strategy(self, path: Path) -> None:
        save_adapter(adapt(VeRA(rank=4)), path)
        assert "projection_seed is 0 in the file" in refused(
            adapt(VeRA(rank=4, projection_seed=1)), path
        )

    def test_what_is_saved_comes_along(self, path: Path) -> None:
        trained = adapt(FirstUpdate(rank=2, saved=True), seed=1)
        save_adapter(trained, path)
        with safe_open(path, framework="pt") as file:
            assert set(file.keys()) == trained.state().keys() > trained.trainable().keys()
        assert "frozen" not in read_metadata(path)
        fresh = adapt(FirstUpdate(rank=2, saved=True), seed=2)
        load_adapter(fresh, path)
        assert torch.equal(fresh(inputs()), trained(inputs()))


class TestRefused:
    def test_other_base_weights(self, case: Case, path: Path) -> None:
        trained = case.adapted()
        save_adapter(trained, path)
        other = case.adapted(base_seed=1)
        message = refused(other, path)
        assert "other base weights" in message
        assert trained.base_hash[:12] in message
        assert other.base_hash[:12] in message

    @pytest.mark.parametrize("head", ["freeze", "adapt"])
    def test_another_head_where_it_is_not_trained_in_full(self, head: str, path: Path) -> None:
        save_adapter(adapt(LoRA(rank=2, head=head)), path)
        model = build(MODELS["mlp"])
        with torch.no_grad():
            model.head.bias += 1
        assert "other base weights" in refused(LoRA(rank=2, head=head).apply(model), path)

    @pytest.mark.parametrize(
        ("saved", "loading"),
        [
            (LoRA(rank=2), DoRA(rank=2)),
            (DoRA(rank=2), LoRA(rank=2)),
            (LoRA(rank=2), Head()),
            (Head(), LoRA(rank=2)),
            (Full(), LastLayers(n=1)),
            (BitFit(), Full()),
            (LastLayers(n=1), LastLayers(n=2)),
            (LoRA(rank=2), LoRA(rank=2, targets="layers.0")),
            (
                LoRA(rank=2, targets="layers.1", also_train=["layers.0"]),
                LoRA(rank=2, targets="layers.1"),
            ),
            (
                LoRA(rank=2, targets="layers.1"),
                LoRA(rank=2, targets="layers.1", also_train=["layers.0"]),
            ),
        ],
        ids=str,
    )
    def test_another_strategy(self, saved: Strategy, loading: Strategy, path: Path) -> None:
        save_adapter(adapt(saved), path)
        message = refused(adapt(loading), path)
        assert type(saved).__name__ in message
        assert type(loading).__name__ in message

    @pytest.mark.parametrize(
        "change",
        [
            {"rank": 3},
            {"alpha": 8.0},
            {"scaling": "alpha"},
            {"alpha_pattern": {"layers.0": 2.0}},
            {"magnitude": "per_input"},
        ],
        ids=str,
    )
    def test_the_same_names_and_another_function(
        self, change: dict[str, object], path: Path
    ) -> None:
        # Parameters of one shape mean something else under another scale or axis.
        saved = DoRA(rank=2, targets="layers.2")  # 6 -> 6, where both magnitudes have one shape
        if "alpha_pattern" in change:
            saved = dataclasses.replace(saved, targets="layers.*")
        save_adapter(adapt(saved), path)
        option, value = next(iter(change.items()))
        message = refused(adapt(dataclasses.replace(saved, **change)), path)
        assert f"{option} is {getattr(saved, option)} in the file" in message
        assert f"{value} in the model" in message

    def test_equal_options_spelled_otherwise_are_no_reason(self, path: Path) -> None:
        save_adapter(adapt(LoRA(rank=2, alpha=4, targets=("layers.0",))), path)
        load_adapter(adapt(LoRA(rank=2, alpha=4.0, targets=["layers.0"])), path)

    def test_a_file_from_before_an_option_loads_where_it_is_off(self, path: Path) -> None:
        save_adapter(adapt(LoRA(rank=2)), path)
        assert "also_train" not in json.loads(read_metadata(path)["options"])
        load_adapter(adapt(LoRA(rank=2, also_train=[])), path)

    def test_another_number_of_classes(self, path: Path) -> None:
        save_adapter(adapt(LoRA(rank=2)), path)
        with torch.random.fork_rng():
            wider = MLP((FEATURES,), 4, widths=(8, 6, 6))
        own = build(MODELS["mlp"]).state_dict()
        body = {name: t for name, t in own.items() if not name.startswith("head")}
        wider.load_state_dict(body, strict=False)
        message = refused(LoRA(rank=2).apply(wider), path)
        assert "head." in message
        assert "[3" in message
        assert "[4" in message

    @pytest.mark.parametrize("bias_saved", [True, False])
    def test_another_set_of_parameters(self, bias_saved: bool, path: Path) -> None:
        def adapted(*, bias: bool) -> AdaptedModel:
            model = build(MODELS["mlp"])
            model.head = nn.Linear(6, 3, bias=bias)
            return Head().apply(model)

        save_adapter(adapted(bias=bias_saved), path)
        side = "in the file" if bias_saved else "in the model"
        assert f"head.bias is only {side}" in refused(adapted(bias=not bias_saved), path)

    @pytest.mark.parametrize("keep", [0, 4, 100, 0.5, -1])
    def test_a_truncated_file(self, keep: float, path: Path) -> None:
        adapted = adapt(LoRA(rank=2))
        save_adapter(adapted, path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
        assert "not a readable safetensors file" in refused(adapted, path)

    def test_a_missing_file(self, path: Path) -> None:
        assert "no such adapter checkpoint" in refused(adapt(LoRA(rank=2)), path)

    def test_a_folder(self, tmp_path: Path) -> None:
        refused(adapt(LoRA(rank=2)), tmp_path)

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
    def test_safetensors_of_another_program(
        self, metadata: dict[str, str] | None, path: Path
    ) -> None:
        adapted = adapt(LoRA(rank=2))
        tensors = {name: p.detach().clone() for name, p in adapted.trainable().items()}
        save_file(tensors, path, metadata)
        assert "not an adapter checkpoint" in refused(adapted, path)


class TimmsRmsNorm(nn.Module):
    """Its class has the name of timm's, which the first versions did not know."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))


TimmsRmsNorm.__name__ = "RmsNorm"


class Grown(MLP):
    """What earlier versions left as it was, or saved along: biases beside layers, tied weights."""

    def __init__(self) -> None:
        super().__init__((1, 2, 2), 3, widths=(4, 4), generator=torch.Generator().manual_seed(0))
        self.attention, self.norm = nn.MultiheadAttention(4, 2), nn.LayerNorm(4)
        self.rms, self.twin = TimmsRmsNorm(), nn.Linear(4, 4, bias=False)
        self.attention.requires_grad_(False)
        for weight in (self.attention.in_proj_weight, self.attention.out_proj.weight):
            weight.fill_(0.5)  # which would be drawn otherwise each time
        self.twin.weight = self.get_submodule("layers.1").weight  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("strategy", "lacks", "of_before"),
    [
        (LoRA(rank=2, targets=["layers.0"]), None, "layers.0.lora_A"),
        (BitFit(), "attention.in_proj_bias", "layers.0.bias"),
        (LNTuning(), "rms.weight", "norm.weight"),
        (
            Combined(parts={"b": BitFit(), "lora": LoRA(rank=2, targets=["layers.0"])}),
            *("attention.in_proj_bias", "attention.out_proj.bias"),
        ),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Strategy) else None,
)
def test_files_of_earlier_versions_are_read(
    strategy: Strategy, lacks: str | None, of_before: str, tmp_path: Path
) -> None:
    trained = strategy.apply(Grown())
    state = {name: t.detach() + 1.0 for name, t in trained.state().items() if name != lacks}
    save_adapter(trained, path := tmp_path / "adapter.safetensors")
    metadata = read_metadata(path)
    tied = {"twin.weight": trained.model.get_parameter("twin.weight").detach().clone()}

    def load(tensors: dict[str, Tensor]) -> AdaptedModel:
        save_file(tensors, path, metadata)
        load_adapter(fresh := strategy.apply(Grown()), path)
        return fresh

    loaded = load(state | tied).state()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    if lacks is not None:
        assert torch.equal(loaded[lacks], trained.state()[lacks])
    whole = dict(state)
    del whole[of_before]
    for odd, name in ((whole, of_before), (state | {"third.weight": torch.ones(1)}, "third")):
        with pytest.raises(CheckpointError, match=rf"{name}\S* is only in the"):
            load(odd)
