"""First values from data: they are PEFT's, the start is the base, and padding has no part."""

import copy
from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from adapter_cases import CLASSES, MODELS, build, inputs
from torch import Tensor, nn
from transformer_cases import encoder, tokens

from adapterlab.adapters import AdaptedModel, DoRA, LoRA
from adapterlab.adapters.data_driven_init import FROM_DATA
from adapterlab.adapters.factors import Init
from adapterlab.adapters.methods.dora import DoRALinear
from adapterlab.base.errors import ConfigError

TARGETS = [f"layers.{i}" for i in range(3)]


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    pytest.importorskip("adapterlab.base.torchvision_compat")
    return pytest.importorskip("peft")


def batch(seed: int, rows: int = 24) -> Any:
    x = inputs(rows, dtype=torch.float64, seed=seed)
    return SimpleNamespace(inputs=x, labels=(x.sum(1) * 3).long() % CLASSES)


def begun(adapted: AdaptedModel, batches: list[Any]) -> AdaptedModel:
    """Give a model its first values, as a training does."""
    adapted.eval()
    made = adapted.strategy.first_values(adapted, batches, torch.Generator())
    state = adapted.state()
    with torch.no_grad():
        for name, tensor in made.items():
            state[name].copy_(tensor)
    return adapted


def ours(strategy: LoRA, batches: list[Any]) -> AdaptedModel:
    return begun(strategy.apply(build(MODELS["mlp"], dtype=torch.float64)), batches)


def lora_ga(peft: ModuleType, base: nn.Module, batches: list[Any]) -> nn.Module:
    from peft.tuners.lora.loraga import preprocess_loraga

    config = peft.LoraConfig(
        r=2, lora_alpha=3, target_modules=TARGETS, init_lora_weights="lora_ga",
        lora_ga_config=peft.LoraGAConfig(),
    )  # fmt: skip

    def step() -> None:
        for one in batches:
            F.cross_entropy(base(one.inputs.float()), one.labels).backward()

    preprocess_loraga(base, config, step)
    return peft.get_peft_model(base, config)


def corda(method: str) -> Callable[[ModuleType, nn.Module, list[Any]], nn.Module]:
    def made(peft: ModuleType, base: nn.Module, batches: list[Any]) -> nn.Module:
        from peft.tuners.lora.config import CordaConfig
        from peft.tuners.lora.corda import preprocess_corda

        config = peft.LoraConfig(
            r=2, lora_alpha=3, target_modules=TARGETS, init_lora_weights="corda",
            corda_config=CordaConfig(corda_method=method),
        )  # fmt: skip
        preprocess_corda(base, config, lambda: [base(one.inputs.float()) for one in batches])
        return peft.get_peft_model(base, config)

    return made


def eva(peft: ModuleType, base: nn.Module, batches: list[Any]) -> nn.Module:
    config = peft.LoraConfig(
        r=2, lora_alpha=3, target_modules=TARGETS, init_lora_weights="eva",
        eva_config=peft.EvaConfig(rho=1.0, tau=0.0),
    )  # fmt: skip
    model = peft.get_peft_model(base, config)
    peft.initialize_lora_eva_weights(
        model, [one.inputs.float() for one in batches],
        forward_fn=lambda model, x: model(x),
        prepare_model_inputs_fn=None, prepare_layer_inputs_fn=None,
        show_progress_bar=False,
    )  # fmt: skip
    return model


PEFTS: Mapping[str, tuple[LoRA, Callable[..., nn.Module], int]] = {
    "lora_ga": (LoRA(rank=2, alpha=3, init="lora_ga"), lora_ga, 3),
    "corda ipm": (LoRA(rank=2, alpha=3, init="corda"), corda("ipm"), 3),
    "corda kpm": (LoRA(rank=2, alpha=3, init="corda", corda_method="kpm"), corda("kpm"), 3),
    "eva": (LoRA(rank=2, alpha=3, init="eva"), eva, 1),
}


@pytest.mark.filterwarnings("ignore:Full backward hook", "ignore:lora with eva")
@pytest.mark.parametrize("name", PEFTS)
def test_they_are_pefts(peft: ModuleType, name: str) -> None:
    """To the rounding of float32, in which PEFT computes them, and to the signs of vectors."""
    strategy, make, count = PEFTS[name]
    batches = [batch(seed) for seed in range(count)]
    model = ours(strategy, batches)
    theirs = make(peft, build(MODELS["mlp"]).float(), batches)
    for layer in TARGETS:
        own = model.model.get_submodule(layer)
        their = theirs.get_submodule(f"base_model.model.{layer}")
        for side in "AB":
            factor = getattr(own, f"lora_{side}").float()
            expected = getattr(their, f"lora_{side}")["default"].weight
            scale = factor.abs().max().item() or 1.0
            torch.testing.assert_close(factor.abs(), expected.abs(), rtol=0, atol=2e-3 * scale)
        A, B = own.factors()
        update = (own.scale * own.lora_B @ own.lora_A).float()
        expected = own.scale * their.lora_B["default"].weight @ their.lora_A["default"].weight
        torch.testing.assert_close(update, expected, rtol=0, atol=3e-3)
        base = getattr(their, "base_layer").weight  # noqa: B009
        effective = (own.base.weight + B @ A).float()
        torch.testing.assert_close(base + expected, effective, rtol=0, atol=3e-3)


def test_principal_components_of_several_batches_are_those_of_all() -> None:
    batches = [batch(seed, rows=5 + seed) for seed in range(6)]
    model = ours(LoRA(rank=3, alpha=3, init="eva"), batches)
    x = torch.cat([one.inputs for one in batches])
    expected = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:3]
    A = model.model.get_submodule("layers.0").lora_A
    torch.testing.assert_close((A @ expected.mT).abs(), torch.eye(3).double(), atol=1e-9, rtol=0)
    assert not model.model.get_submodule("layers.0").lora_B.any()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", [LoRA, DoRA])
@pytest.mark.parametrize("init", FROM_DATA)
def test_the_start_is_the_base(init: Init, kind: type[LoRA], model: str) -> None:
    base = build(MODELS[model], dtype=torch.float64)
    strategy = kind(rank=2, alpha=3, init=init, dropout=0.3)
    if model == "convolutional" and init not in ("lora_ga", "gora"):
        with pytest.raises(ConfigError, match=f"adapter.init={init} is of linear layers, and a"):
            kind(rank=2, init=init, targets="all-conv").apply(copy.deepcopy(base))
    adapted = begun(strategy.apply(copy.deepcopy(base)), [batch(0), batch(1)])
    assert not any(p.requires_grad for n, p in adapted.model.named_parameters() if ".base." in n)
    x = inputs(dtype=torch.float64)
    if init == "gora":  # which starts with a step down
        layers = [m for m in adapted.model.modules() if isinstance(m, DoRALinear)]
        assert bool(layers) == (kind is DoRA)
        for layer in layers:  # and with magnitudes that rescale nothing
            assert torch.equal(layer.magnitude.flatten(), layer.weight_norm())
        assert _loss(adapted, [batch(0), batch(1)]) < _loss(base.eval(), [batch(0), batch(1)])
        return
    torch.testing.assert_close(adapted.train()(x), base.eval()(x), rtol=1e-12, atol=1e-12)
    moved = [p for name, p in adapted.trainable().items() if name.endswith("lora_B")]
    assert any(p.any() for p in moved) == (init != "eva")


def _loss(model: nn.Module, batches: list[Any]) -> float:
    return sum(F.cross_entropy(model.eval()(one.inputs), one.labels).item() for one in batches)


def test_goras_first_update_is_the_gradient_on_the_rows_of_a() -> None:
    """Whatever the scale; of all rows it is the whole gradient, √(d_in / r) = 1 times γ."""
    batches, base = [batch(0), batch(1)], build(MODELS["mlp"], dtype=torch.float64)
    torch.stack(
        [F.cross_entropy(base(one.inputs), one.labels) for one in batches]
    ).mean().backward()
    for rank, alpha in ((2, 3), (2, 1), (5, 7)):
        model = ours(LoRA(rank=rank, alpha=alpha, init="gora", gora_gamma=0.2), batches)
        plain = ours(LoRA(rank=rank, alpha=alpha), [])
        layer, drawn = (m.model.get_submodule("layers.0") for m in (model, plain))
        A, B = layer.factors()
        assert torch.equal(A, drawn.lora_A)
        G, far = base.layers[0].weight.grad, 0.2 * (5 / rank) ** 0.5
        onto_A = torch.linalg.lstsq(A, A).solution if rank == 5 else A.T @ (A @ A.T).inverse() @ A
        torch.testing.assert_close(B @ A, -far * G @ onto_A, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:rank 7 on")
def test_a_rank_above_what_there_is_leaves_loras_values() -> None:
    for init in set(FROM_DATA) - {"gora"}:
        strategy = LoRA(rank=7, alpha=3, init=init)
        model, plain = ours(strategy, [batch(0)]), ours(LoRA(rank=7, alpha=3), [])
        for name in ("layers.1", "layers.2"):
            layer, other = model.model.get_submodule(name), plain.model.get_submodule(name)
            rank = min(8 if init == "eva" else 6, *layer.base.weight.shape[1:])
            assert torch.equal(layer.lora_A[rank:], other.lora_A[rank:]), init
            assert not layer.lora_B[:, rank:].any()
            assert not torch.equal(layer.lora_A[:rank], other.lora_A[:rank])


@pytest.mark.parametrize("init", ["eva", "corda"])
def test_padding_has_no_part(init: Init) -> None:
    strategy = LoRA(rank=2, alpha=3, init=init)

    def with_tokens_behind(inputs: dict[str, Tensor], token: int) -> Any:
        padded = {k: F.pad(v, (0, 3)) for k, v in inputs.items()}
        padded["input_ids"][padded["attention_mask"] == 0] = token
        return SimpleNamespace(inputs=padded, labels=torch.zeros(len(padded["input_ids"])).long())

    found = []
    for token in (0, 7):
        adapted = strategy.apply(encoder("bert", dtype=torch.float64))
        one = with_tokens_behind(tokens(adapted), token)
        begun(adapted, [one])
        found.append(adapted.state())
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_batches": 0}, r"adapter\.init_batches=0 must be 1 or more"),
        ({"corda_method": "kpn"}, r"adapter\.corda_method=kpn; allowed: ipm, kpm \(did you mean k"),
        ({"gora_gamma": 0}, r"adapter\.gora_gamma=0 must be above 0 and finite"),
        ({"init": "evah"}, r"adapter\.init=evah; allowed: kaiming, .*did you mean eva"),
    ],
)
def test_options_outside_their_domain_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LoRA(rank=2, **options)
