"""VeRA against Hugging Face's PEFT, in float64: drawn projections, logits, gradients, files."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from adapter_cases import MODELS, assert_same, build, inputs, perturb
from safetensors.torch import load_file, save_file
from torch import nn

from adapterlab.adapters import AdaptedModel, VeRA
from adapterlab.adapters.formats.peft import load_peft, save_peft
from adapterlab.base.errors import CheckpointError

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
DOUBLE = torch.float64
TARGETS = ["layers.0", "layers.1", "layers.2", "head"]


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    pytest.importorskip("adapterlab.base.torchvision_compat")
    return pytest.importorskip("peft")


@pytest.fixture
def pair(peft: ModuleType) -> tuple[AdaptedModel, nn.Module]:
    """Return our model and PEFT's over one base, all vectors drawn and equal."""
    ours = VeRA(rank=3, projection_seed=7, head="adapt").apply(build(MODELS["mlp"], dtype=DOUBLE))
    config = peft.VeraConfig(r=3, target_modules=TARGETS, projection_prng_key=7)
    theirs = peft.get_peft_model(build(MODELS["mlp"], dtype=DOUBLE), config).double()
    perturb(ours)
    own = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.trainable().items():
            own[f"base_model.model.{name}.default"].copy_(parameter)
    return ours, theirs


def test_the_projections_are_drawn_alike(pair: tuple[AdaptedModel, nn.Module]) -> None:
    ours, theirs = pair
    for side in ("vera_A", "vera_B"):
        whole = theirs.get_buffer(f"base_model.{side}.default")
        for name in TARGETS:
            own = getattr(ours.model.get_submodule(name), side)
            assert torch.equal(own, whole[: own.shape[0], : own.shape[1]])


def test_what_is_trained_is_the_same_and_starts_alike(peft: ModuleType) -> None:
    config = peft.VeraConfig(r=3, target_modules=TARGETS, d_initial=0.2)
    theirs = peft.get_peft_model(build(MODELS["mlp"], dtype=DOUBLE), config).double()
    ours = VeRA(rank=3, head="adapt", d_initial=0.2).apply(build(MODELS["mlp"], dtype=DOUBLE))
    trained = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
    assert trained.keys() == {f"base_model.model.{name}.default" for name in ours.trainable()}
    for name, parameter in ours.trainable().items():
        first = trained[f"base_model.model.{name}.default"]
        torch.testing.assert_close(parameter, first, rtol=1e-7, atol=0)  # drawn in float32 there


def test_logits_and_gradients(pair: tuple[AdaptedModel, nn.Module]) -> None:
    ours, theirs = pair
    seen = []
    for model in pair:
        x = inputs(dtype=DOUBLE).requires_grad_()
        logits = model(x)
        (logits * torch.tensor([1.0, -2.0, 0.5])).sum().backward()
        seen.append((logits, x.grad))
    torch.testing.assert_close(*seen, **CLOSE)
    own = dict(theirs.named_parameters())
    for name, parameter in ours.trainable().items():
        assert parameter.grad.abs().max() > 1e-6, name
        torch.testing.assert_close(
            parameter.grad, own[f"base_model.model.{name}.default"].grad, **CLOSE
        )


def test_merged_weights(pair: tuple[AdaptedModel, nn.Module]) -> None:
    ours, theirs = pair
    merged = theirs.merge_and_unload()
    for name in TARGETS:
        plain = ours.model.get_submodule(name).merged()
        torch.testing.assert_close(plain.weight, merged.get_submodule(name).weight.data, **CLOSE)


class TestFiles:
    @pytest.mark.parametrize("save_projection", [True, False])
    def test_what_peft_wrote_is_read(
        self, peft: ModuleType, tmp_path: Path, save_projection: bool
    ) -> None:
        options = {"r": 3, "target_modules": TARGETS[:3], "modules_to_save": ["head"]}
        config = peft.VeraConfig(**options, save_projection=save_projection)
        theirs = peft.get_peft_model(build(MODELS["mlp"], dtype=DOUBLE), config).double()
        with torch.no_grad():
            for parameter in theirs.parameters():
                if parameter.requires_grad:
                    parameter += 0.3 * torch.randn(
                        parameter.shape, generator=torch.Generator().manual_seed(4)
                    )
        theirs.save_pretrained(tmp_path)
        ours = VeRA(rank=3).apply(build(MODELS["mlp"], dtype=DOUBLE))
        load_peft(ours, tmp_path)
        x = inputs(dtype=DOUBLE)
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), **CLOSE)

    def refuses(self, folder: Path, strategy: VeRA, message: str) -> None:
        adapted = strategy.apply(build(MODELS["mlp"], dtype=DOUBLE))
        before = {name: tensor.clone() for name, tensor in adapted.state().items()}
        with pytest.raises(CheckpointError, match=message):
            load_peft(adapted, folder)
        assert_same(adapted.state(), before)

    def test_other_projections_are_refused(self, tmp_path: Path) -> None:
        save_peft(VeRA(rank=3).apply(build(MODELS["mlp"], dtype=DOUBLE)), tmp_path)
        other = VeRA(rank=3, projection_seed=1)
        self.refuses(tmp_path, other, "vera_A differs from what the model computes with")
        config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
        tensors = {name: tensor.clone() for name, tensor in load_file(weights).items()}
        kept = {name: t for name, t in tensors.items() if "vera_A" not in name}
        save_file(kept, weights)
        self.refuses(tmp_path, VeRA(rank=3), "vera_A is only in the model")
        config.write_text(json.dumps(json.loads(config.read_text()) | {"save_projection": False}))
        save_file({name: t for name, t in kept.items() if "vera_B" not in name}, weights)
        self.refuses(tmp_path, other, "projection_prng_key=0, this model has those of adapter.proj")
        load_peft(VeRA(rank=3).apply(build(MODELS["mlp"], dtype=DOUBLE)), tmp_path)

    def test_another_method_is_refused(self, tmp_path: Path) -> None:
        save_peft(VeRA(rank=3).apply(build(MODELS["mlp"], dtype=DOUBLE)), tmp_path)
        config = tmp_path / "adapter_config.json"
        written = json.loads(config.read_text())
        for change, message in (
            ({"peft_type": "LORA"}, "holds PEFT's LORA; allowed: VERA"),
            ({"bias": "vera_only"}, "trained biases"),
            ({"r_pattern": {"x": 1}}, "no counterpart here: r_pattern="),
        ):
            config.write_text(json.dumps(written | change))
            self.refuses(tmp_path, VeRA(rank=3), message)
