"""AdaLoRA against PEFT in float64: logits, gradients, the added loss, the ranks of each step."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from adapter_cases import CLASSES, MODELS, build, inputs, perturb
from safetensors.torch import load_file
from torch import Tensor, nn

from adapterlab.adapters import AdaLoRA, AdaptedModel
from adapterlab.adapters.formats.peft import load_peft, save_peft
from adapterlab.adapters.formats.peft_files import CONFIG, WEIGHTS
from adapterlab.adapters.hooks import Moment
from adapterlab.base.errors import CheckpointError, ConfigError

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
DOUBLE = torch.float64
TARGETS = ["layers.0", "layers.1", "layers.2"]
STEPS = 20


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    pytest.importorskip("adapterlab.base.torchvision_compat")
    return pytest.importorskip("peft")


def both(
    peft: ModuleType, strategy: AdaLoRA, *, orth_reg_weight: float = 0.5
) -> tuple[AdaptedModel, nn.Module]:
    """Return our model and PEFT's over one base, with equal first values."""
    ours = strategy.apply(build(MODELS["mlp"], dtype=DOUBLE))
    config = peft.AdaLoraConfig(
        target_modules=TARGETS,
        modules_to_save=["head"],
        init_r=strategy.init_rank,
        target_r=strategy.rank,
        lora_alpha=strategy.alpha,
        tinit=round(strategy.tinit * STEPS),
        tfinal=round(strategy.tfinal * STEPS),
        deltaT=strategy.delta_t,
        beta1=strategy.beta1,
        beta2=strategy.beta2,
        orth_reg_weight=orth_reg_weight,
        total_step=STEPS,
    )
    theirs = peft.get_peft_model(build(MODELS["mlp"], dtype=DOUBLE), config).double()
    own = dict(theirs.named_parameters())
    for name, parameter in own.items():
        if "ranknum" in name:  # a count, which PEFT 0.21 lets an optimizer change
            parameter.requires_grad_(False)
    with torch.no_grad():
        for name, parameter in ours.trainable().items():
            own[counterpart(name)].copy_(parameter)
    return ours, theirs


def counterpart(name: str) -> str:
    if name.startswith("head."):
        return f"base_model.model.head.modules_to_save.default.{name.removeprefix('head.')}"
    return f"base_model.model.{name}.default"


def cross_entropy(model: nn.Module, step: int) -> Tensor:
    x = inputs(dtype=DOUBLE, seed=step)
    return nn.functional.cross_entropy(model(x), (x.sum(1) * 3).long() % CLASSES)


def moment(adapted: AdaptedModel, step: int, *, with_gradients: bool = False) -> Moment:
    trained = adapted.trainable()
    return Moment(
        step=step,
        total=STEPS,
        parameters=trained,
        gradients={n: p.grad for n, p in trained.items() if with_gradients and p.grad is not None},
        frozen=adapted.frozen_state(saved=True),
    )


def test_logits_gradients_and_merged_weights(peft: ModuleType) -> None:
    ours, theirs = both(peft, AdaLoRA(init_rank=3, rank=2, alpha=5))
    perturb(ours)
    own = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.trainable().items():
            own[counterpart(name)].copy_(parameter)
    torch.testing.assert_close(ours(inputs(dtype=DOUBLE)), theirs(inputs(dtype=DOUBLE)), **CLOSE)
    for model in (ours, theirs):
        cross_entropy(model, 0).backward()
    for name, parameter in ours.trainable().items():
        assert parameter.grad.abs().max() > 1e-8, name
        torch.testing.assert_close(parameter.grad, own[counterpart(name)].grad, **CLOSE)
    merged = theirs.merge_and_unload()
    for name in TARGETS:
        plain = ours.model.get_submodule(name).merged()
        torch.testing.assert_close(plain.weight, merged.get_submodule(name).weight.data, **CLOSE)


def test_the_first_values_are_distributed_alike(peft: ModuleType) -> None:
    base = nn.Sequential(nn.Linear(200, 150))
    theirs = peft.get_peft_model(
        base, peft.AdaLoraConfig(target_modules=["0"], init_r=90, total_step=2)
    ).get_submodule("base_model.model.0")
    from adapterlab.adapters import AdaLoRALinear

    ours = AdaLoRALinear(nn.Linear(200, 150), rank=90, alpha=8)
    assert not ours.lora_E.any()
    assert not theirs.lora_E["default"].any()
    for factor in ("lora_A", "lora_B"):
        for values in (getattr(ours, factor), getattr(theirs, factor)["default"]):
            assert values.std().item() == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize(
    "strategy",
    [
        AdaLoRA(init_rank=3, rank=1, alpha=5, tinit=0.2, tfinal=0.3),
        AdaLoRA(init_rank=4, rank=2, alpha=5, tinit=0.0, tfinal=0.0, delta_t=3, beta1=0.5),
    ],
    ids=["every step", "every third"],
)
def test_the_ranks_are_the_allocators(peft: ModuleType, strategy: AdaLoRA) -> None:
    ours, theirs = both(peft, strategy)
    trained = dict(theirs.named_parameters())
    optimizers = [
        torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
        for model in (ours, theirs)
    ]
    budgets = []
    for step in range(STEPS):
        loss = cross_entropy(ours, step) + strategy.extra_loss(moment(ours, step))
        their_loss = cross_entropy(theirs, step) + their_orthogonality(theirs)
        torch.testing.assert_close(loss, their_loss, rtol=1e-9, atol=1e-9)
        for one, value in zip(optimizers, (loss, their_loss), strict=True):
            one.zero_grad()
            value.backward()
            one.step()
        with torch.no_grad():
            strategy.after_step(moment(ours, step + 1, with_gradients=True))
            theirs.base_model.update_and_allocate(step + 1)
        for name, parameter in ours.trainable().items():
            torch.testing.assert_close(
                parameter, trained[counterpart(name)], rtol=1e-8, atol=1e-9, msg=f"{step} {name}"
            )
        kept = {n: t for n, t in ours.frozen_state(saved=True).items() if n.endswith("kept")}
        budgets.append(int(sum(tensor.sum() for tensor in kept.values())))
        pattern = theirs.peft_config["default"].rank_pattern
        for name, tensor in kept.items():
            if pattern:
                found = next(v for n, v in pattern.items() if name.removesuffix("kept") in n)
                assert [bool(one) for one in tensor] == found, (step, name)
    assert budgets[0] >= budgets[-1] == 3 * strategy.rank
    assert len(set(budgets)) > 3, "the budget falls step by step"


class TestFiles:
    def test_ranks_that_peft_gave_up_are_zero_here(self, peft: ModuleType, tmp_path: Path) -> None:
        strategy = AdaLoRA(init_rank=3, rank=1, alpha=5, tinit=0.0, tfinal=0.5)
        _, theirs = both(peft, strategy)
        optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=0.05)
        for step in range(STEPS):
            optimizer.zero_grad()
            cross_entropy(theirs, step).backward()
            optimizer.step()
            theirs.base_model.update_and_allocate(step + 1)
        theirs.save_pretrained(tmp_path)
        shapes = [tuple(t.shape) for n, t in load_file(tmp_path / WEIGHTS).items() if "_E" in n]
        assert sum(rank for rank, _ in shapes) == 3, "the file has what is left"
        ours = strategy.apply(build(MODELS["mlp"], dtype=DOUBLE), seed=8)
        load_peft(ours, tmp_path)
        x = inputs(dtype=DOUBLE)
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), **CLOSE)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"peft_type": "LORA"}, "holds PEFT's LORA; allowed: ADALORA"),
            ({"lora_alpha": 10}, "is scaled by 3.33332 in the file .* and by 1.66666 in the model"),
            ({"rank_pattern": {"layers.0.lora_E": 2}}, "rank_pattern is no lists of true and fal"),
            ({"rank_pattern": {"layers.0.lora_E": [True]}}, "layers.0.lora_E does not fit its t"),
            ({"rank_pattern": {"layers.9.lora_E": [True]}}, "layers.9.lora_E does not fit its t"),
            ({"use_rslora": True}, "no counterpart here: use_rslora=True"),
            ({"init_r": "many"}, "is not the configuration of a PEFT adapter"),
        ],
    )
    def test_what_computes_something_else_is_refused(
        self, tmp_path: Path, change: dict[str, object], message: str
    ) -> None:
        adapted = AdaLoRA(init_rank=3, rank=1, alpha=5).apply(build(MODELS["mlp"], dtype=DOUBLE))
        save_peft(adapted, tmp_path)
        path = tmp_path / CONFIG
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(CheckpointError, match=message):
            load_peft(adapted, tmp_path)


def their_orthogonality(theirs: nn.Module) -> Tensor:
    """Return PEFT's added loss, which its forward adds to the loss of a transformer's output."""

    class Output:
        loss = torch.zeros((), dtype=DOUBLE)

    model = theirs.base_model
    inner, model.model.forward = model.model.forward, lambda *_: Output()
    try:
        return model.forward().loss
    finally:
        model.model.forward = inner


def test_there_are_never_fewer_than_the_budget() -> None:
    strategy = AdaLoRA(init_rank=4, rank=2, tinit=0.0, tfinal=0.0)
    adapted = strategy.apply(build(MODELS["mlp"], dtype=DOUBLE))
    with torch.no_grad():
        strategy.after_step(moment(adapted, STEPS))  # all scores are zero
    said = strategy.outcome(adapted)
    assert said == "ranks kept of 4: layers.0 4, layers.1 2, layers.2 0"
    assert adapted.model.layers[1].describe().startswith("AdaLoRA rank 4, 2 left, scale ")


def test_means_are_forgotten_when_the_ranks_are_final() -> None:
    strategy = AdaLoRA(init_rank=4, rank=2, tinit=0.0, tfinal=0.5)
    adapted = strategy.apply(build(MODELS["mlp"], dtype=DOUBLE))
    cross_entropy(adapted, 0).backward()
    with torch.no_grad():
        for parameter in adapted.trainable().values():
            parameter += 0.1
        strategy.after_step(moment(adapted, 1, with_gradients=True))
        state = adapted.frozen_state(saved=True)
        assert state["layers.0.mean_E"].any()
        strategy.after_step(moment(adapted, STEPS // 2, with_gradients=True))
        assert not any(t.any() for n, t in state.items() if not n.endswith("kept"))
        adapted.model.layers[0].lora_E.fill_(1)
        strategy.after_step(moment(adapted, STEPS, with_gradients=True))
    assert torch.equal(adapted.model.layers[0].lora_E[:, 0], state["layers.0.kept"])


def test_without_a_weight_nothing_is_added() -> None:
    strategy = AdaLoRA(orth_reg_weight=0.0)
    assert strategy.extra_loss(moment(strategy.apply(build(MODELS["mlp"])), 0)) is None


def test_a_budget_turns_the_rank_of_the_beginning() -> None:
    turned = AdaLoRA(init_rank=12, rank=8, alpha=16).turned(3)
    assert (turned.init_rank, turned.rank, turned.alpha) == (3, 2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 13}, "adapter.init_rank=12 is below adapter.rank=13"),
        ({"tinit": 1.0}, "adapter.tinit=1 must be at least 0 and below 1"),
        ({"tinit": 0.5, "tfinal": 0.5}, "leave no time between them"),
        ({"beta2": -0.1}, "adapter.beta2=-0.1 must be"),
        ({"delta_t": 0}, "adapter.delta_t=0 must be 1 or more"),
        ({"orth_reg_weight": -1.0}, "adapter.orth_reg_weight=-1 must be 0 or more"),
        ({"alpha": 0.0}, "adapter.alpha=0 must be above 0"),
    ],
)
def test_options_outside_of_their_domain(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AdaLoRA(**options)
