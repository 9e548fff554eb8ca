"""First values that are an update already: what they are, that they are PEFT's, and in packs."""

import copy
from types import ModuleType

import pytest
import torch
from adapter_cases import MODELS, assert_same, build, inputs, perturb, snapshot
from torch import Tensor, nn

from adapterlab.adapters import DoRA, DoRALinear, LoRA, LoRALinear
from adapterlab.adapters.factors import Init
from adapterlab.adapters.first_updates import FROM_WEIGHT
from adapterlab.packing import PackedModel, share_frozen

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    pytest.importorskip("adapterlab.base.torchvision_compat")
    return pytest.importorskip("peft")


def linear(d_in: int, d_out: int) -> nn.Linear:
    generator = torch.Generator().manual_seed(4)
    layer = nn.Linear(d_in, d_out, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
    return layer


def first(layer: LoRALinear) -> Tensor:
    return layer.scale * layer.first_B @ layer.first_A


def of_triples(W: Tensor, chosen: slice) -> Tensor:
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    return (U[:, chosen] * S[chosen]) @ Vh[chosen]


@pytest.mark.parametrize("sides", [(7, 5), (5, 7)])
def test_they_are_parts_of_the_weight(sides: tuple[int, int]) -> None:
    base = linear(*sides)
    W = base.weight.detach()
    pissa = LoRALinear(base, rank=2, alpha=3, init="pissa")
    milora = LoRALinear(base, rank=2, alpha=3, init="milora")
    torch.testing.assert_close(first(pissa), of_triples(W, slice(2)), **CLOSE)
    torch.testing.assert_close(first(milora), of_triples(W, slice(3, 5)), **CLOSE)
    for layer in (pissa, milora):  # each singular value is in both factors alike
        norms = layer.first_A.norm(dim=1), layer.first_B.norm(dim=0)
        torch.testing.assert_close(*norms, **CLOSE)
    olora = LoRALinear(base, rank=2, alpha=3, init="olora")
    torch.testing.assert_close(olora.first_B.mT @ olora.first_B, torch.eye(2).double(), **CLOSE)
    torch.testing.assert_close(olora.first_B.mT @ W, olora.first_A, **CLOSE)
    torch.testing.assert_close(olora.first_A[:, 0], torch.tensor([W[:, 0].norm(), 0]), **CLOSE)


@pytest.mark.parametrize("init", FROM_WEIGHT)
def test_rows_beyond_the_smaller_side_start_as_loras(init: Init) -> None:
    def made(init: Init) -> LoRALinear:
        generator = torch.Generator().manual_seed(1)
        return LoRALinear(linear(6, 3), rank=5, alpha=3, init=init, generator=generator)

    layer, plain = made(init), made("kaiming")
    assert torch.equal(layer.lora_A[3:], plain.lora_A[3:])
    assert not layer.lora_B[:, 3:].any()
    scale = 1.0 if init != "olora" else layer.scale  # all of W, or s times it
    torch.testing.assert_close(first(layer), scale * layer.base.weight, **CLOSE)


@pytest.mark.parametrize("init", FROM_WEIGHT)
def test_doras_magnitude_starts_as_that_of_the_base(init: Init) -> None:
    base = linear(7, 5)
    rows = DoRALinear(base, rank=2, alpha=3, init=init)
    columns = DoRALinear(base, rank=2, alpha=3, init=init, magnitude="per_input")
    torch.testing.assert_close(rows.magnitude.data, base.weight.norm(dim=1), **CLOSE)
    torch.testing.assert_close(columns.magnitude.data, base.weight.norm(dim=0), **CLOSE)


@pytest.mark.parametrize("kind", [LoRA, DoRA])
@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_they_and_the_training_are_pefts(peft: ModuleType, init: Init, kind: type[LoRA]) -> None:
    """PEFT makes them in float32 and changes the weights, from which both go on in float64."""
    base = build(MODELS["mlp"])
    targets = [f"layers.{i}" for i in range(3)]
    config = peft.LoraConfig(
        r=2, lora_alpha=3, target_modules=targets, init_lora_weights=init, use_dora=kind is DoRA
    )
    theirs = peft.get_peft_model(copy.deepcopy(base), config).double()
    ours = kind(rank=2, alpha=3, init=init, head="freeze").apply(copy.deepcopy(base).double())
    for name in targets:
        layer = ours.model.get_submodule(name)
        own = theirs.get_submodule(f"base_model.model.{name}")
        A, B = (getattr(own, f"lora_{side}")["default"].weight for side in "AB")
        close = {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(layer.lora_A.abs(), A.abs(), **close)
        torch.testing.assert_close(layer.lora_B.abs(), B.abs(), **close)
        residual = layer.base.weight - first(layer)
        torch.testing.assert_close(residual, own.base_layer.weight, **close)
        with torch.no_grad():  # the same numbers in both, to compare in float64
            own.base_layer.weight.copy_(residual)
            A.copy_(layer.lora_A)
            B.copy_(layer.lora_B)
            if kind is DoRA:
                own.lora_magnitude_vector["default"].weight.copy_(layer.magnitude)
    perturb(ours)
    with torch.no_grad():
        for name, parameter in ours.trainable().items():
            layer_name, _, side = name.rpartition(".")
            own = theirs.get_submodule(f"base_model.model.{layer_name}")
            if side == "magnitude":
                own.lora_magnitude_vector["default"].weight.copy_(parameter)
            else:
                getattr(own, side)["default"].weight.copy_(parameter)
    x = inputs(dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-12)
    for model in (ours, theirs):
        (model(x) * torch.tensor([1.0, -2.0, 0.5])).sum().backward()
    for name in targets:
        layer = ours.model.get_submodule(name)
        own = theirs.get_submodule(f"base_model.model.{name}")
        for side in ("lora_A", "lora_B"):
            expected = getattr(own, side)["default"].weight.grad
            torch.testing.assert_close(getattr(layer, side).grad, expected, rtol=1e-10, atol=1e-12)


def test_no_weight_is_changed_and_no_number_drawn_otherwise() -> None:
    base = build(MODELS["mlp"])
    before = {name: p.clone() for name, p in base.named_parameters()}
    states = []
    for init in ("kaiming", *FROM_WEIGHT):
        adapted = LoRA(rank=2, alpha=3, init=init, head="freeze").apply(copy.deepcopy(base))
        frozen = dict(adapted.model.named_parameters())
        for name, own in before.items():
            place, _, parameter = name.rpartition(".")
            wrapped = f"{place}.base.{parameter}"
            assert torch.equal(frozen.get(wrapped, frozen.get(name)), own)
        states.append(adapted.base_hash)
    assert len(set(states)) == 1


@pytest.mark.parametrize("kind", [LoRA, DoRA])
@pytest.mark.parametrize("model", MODELS)
def test_lanes_of_one_rank_hold_them_once(kind: type[LoRA], model: str) -> None:
    strategy = kind(rank=2, alpha=3, init="pissa")
    models = [strategy.apply(build(MODELS[model], dtype=torch.float64)) for _ in range(3)]
    for seed, one in enumerate(models):
        perturb(one, seed=seed)
    share_frozen(models)
    pack = PackedModel(models, [0, 0, 1])
    lanes = [module for _, module in pack.lane_modules() if "lora_A" in module.stacks]
    assert lanes
    assert not any("first_A" in module.stacks for module in lanes)
    x = [inputs(6, dtype=torch.float64, seed=stream) for stream in (0, 1)]
    logits = pack(torch.cat(x), rows=6)
    for lane, one in enumerate(models):
        torch.testing.assert_close(logits[lane], one(x[lane // 2]), **CLOSE)
    before = snapshot(models[2])
    pack.keep([0, 2])
    kept = pack.eval()(x[0], rows=6, together=True)
    torch.testing.assert_close(kept[1], models[2].eval()(x[0]), **CLOSE)
    assert_same(snapshot(models[2]), before)
