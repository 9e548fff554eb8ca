"""PEFT's files: what is written loads in PEFT with the same logits, and the other way round."""

import copy
import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from adapter_cases import MODELS, assert_same, build, inputs, perturb, snapshot
from safetensors.torch import load_file, save_file
from torch import nn
from transformer_cases import ARCHITECTURES, ROWS, encoder, tokens

from adapterlab.adapters import AdaptedModel, BitFit, DoRA, Full, LoRA, Strategy
from adapterlab.adapters.formats.peft import METHODS, load_peft, save_peft
from adapterlab.base.errors import CheckpointError, ConfigError

EXPRESSIBLE = {
    name: row.strategy
    for name, row in ROWS.items()
    if (method := METHODS.get(type(row.strategy))) and method.lacking(row.strategy) is None
}
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
DOUBLE = torch.float64


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    return pytest.importorskip("peft")


@pytest.fixture(params=EXPRESSIBLE)
def strategy(request: pytest.FixtureRequest) -> LoRA:
    return EXPRESSIBLE[request.param]


def trained(architecture: str, strategy: Strategy) -> AdaptedModel:
    adapted = strategy.apply(encoder(architecture, dtype=DOUBLE))
    perturb(adapted)
    return adapted.eval()


def base_for_peft(architecture: str, *, new_head: bool) -> nn.Module:
    """Return the base as transformers has it, with another head where the file should bring one."""
    base = encoder(architecture, dtype=DOUBLE)
    if new_head:
        other = encoder(architecture, seed=9, dtype=DOUBLE)
        for name in base.head_modules:
            base.get_submodule(name).load_state_dict(other.get_submodule(name).state_dict())
    return base.model


def load_in_peft(peft: ModuleType, base: nn.Module, folder: Path) -> nn.Module:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(base, folder)
    assert not [str(w.message) for w in caught if "missing adapter keys" in str(w.message)]
    model = model.double()  # it makes its own in float32, and reads them once more
    peft.set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
    return model.eval()


class TestToPeft:
    @pytest.mark.usefixtures("peft_in_float64", "butterflies_in_peft")
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_the_logits_are_the_same(
        self, peft: ModuleType, tmp_path: Path, architecture: str, strategy: LoRA
    ) -> None:
        ours = trained(architecture, strategy)
        save_peft(ours, tmp_path)
        base = base_for_peft(architecture, new_head=strategy.head != "adapt")
        batch = tokens(ours)
        assert (base.eval()(**batch).logits - ours(batch)).abs().max() > 1e-2
        theirs = load_in_peft(peft, base, tmp_path)
        torch.testing.assert_close(theirs(**batch).logits, ours(batch), **CLOSE)

    def test_the_plain_networks_load_as_well(self, peft: ModuleType, tmp_path: Path) -> None:
        ours = DoRA(rank=2, alpha=3, rank_pattern={"layers.1": 3}).apply(
            build(MODELS["mlp"], dtype=DOUBLE)
        )
        perturb(ours)
        save_peft(ours, tmp_path)
        theirs = load_in_peft(peft, build(MODELS["mlp"], dtype=DOUBLE), tmp_path)
        x = inputs(dtype=DOUBLE)
        torch.testing.assert_close(theirs(x), ours.eval()(x), **CLOSE)

    def test_the_files_are_the_ones_that_peft_writes(self, tmp_path: Path) -> None:
        adapted = DoRA(
            rank=2,
            alpha=4,
            targets="attention",
            layers=[1],
            rank_pattern={"key": 8},
            alpha_pattern={"value": 7.5},
            scaling="alpha",
            dropout=0.25,
        ).apply(encoder("distilbert"))
        save_peft(adapted, tmp_path / "new" / "folder", base_name="distilbert-base-uncased")
        config = json.loads((tmp_path / "new" / "folder" / "adapter_config.json").read_text())
        attention = "distilbert.transformer.layer.1.attention"
        escaped = r"^distilbert\.transformer\.layer\.1\.attention\."
        assert config == {
            "peft_type": "LORA",
            "task_type": "SEQ_CLS",
            "base_model_name_or_path": "distilbert-base-uncased",
            "inference_mode": True,
            "r": 2,
            "lora_alpha": 8,
            "target_modules": [f"{attention}.{n}_lin" for n in ("q", "k", "v", "out")],
            "rank_pattern": {escaped + "k_lin": 8},
            "alpha_pattern": {escaped + "k_lin": 32, escaped + "v_lin": 15},
            "modules_to_save": ["pre_classifier", "classifier"],
            "lora_dropout": 0.25,
            "use_rslora": False,
            "use_dora": True,
            "init_lora_weights": True,
            "fan_in_fan_out": False,
            "bias": "none",
        }
        save_peft(adapted, tmp_path / "of", base_name="distilbert", base_revision="v1")
        of = json.loads((tmp_path / "of" / "adapter_config.json").read_text())
        assert of == config | {"base_model_name_or_path": "distilbert", "revision": "v1"}
        tensors = load_file(tmp_path / "new" / "folder" / "adapter_model.safetensors")
        prefix = f"base_model.model.{attention}"
        assert {name: tuple(t.shape) for name, t in tensors.items() if "k_lin" in name} == {
            f"{prefix}.k_lin.lora_A.weight": (8, 32),
            f"{prefix}.k_lin.lora_B.weight": (32, 8),
            f"{prefix}.k_lin.lora_magnitude_vector": (32,),
        }
        assert "base_model.model.pre_classifier.weight" in tensors
        assert len(tensors) == 4 * 3 + 4

    @pytest.mark.parametrize(
        ("strategy", "message"),
        [
            (Full(), "PEFT's format has no Full; export the merged model instead"),
            (BitFit(), "PEFT's format has no BitFit"),
            (DoRA(rank=2, magnitude="per_input"), "PEFT's DoRA has no magnitude=per_input"),
            (
                LoRA(rank=2, targets="query", also_train=["ffn"]),
                r"PEFT's format has no also_train=\['ffn'\]; export the merged model instead",
            ),
        ],
    )
    def test_what_peft_cannot_express_is_refused(
        self, tmp_path: Path, strategy: Strategy, message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            save_peft(strategy.apply(encoder("bert")), tmp_path)
        assert not list(tmp_path.iterdir())

    def test_a_name_that_peft_would_find_twice_is_refused(self, tmp_path: Path) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first = nn.Linear(2, 2)
                self.inner = nn.ModuleDict({"first": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
                self.head = nn.Linear(2, 2)
                self.head_modules, self.blocks = ("head",), ("first",)

        with pytest.raises(ConfigError, match=r"cannot adapt first without adapting inner\.first"):
            save_peft(LoRA(rank=1, layers=[0]).apply(Twice()), tmp_path)
        with pytest.raises(ConfigError, match=r"take inner\.head for a part of the head, head"):
            save_peft(LoRA(rank=1, targets="inner.head").apply(Twice()), tmp_path)


def from_peft(
    peft: ModuleType, architecture: str, folder: Path, **options: Any
) -> tuple[nn.Module, nn.Module]:
    """Let PEFT adapt, perturb and save; return its model and the base it started from."""
    base = encoder(architecture, dtype=DOUBLE)
    model = peft.get_peft_model(copy.deepcopy(base.model), peft.LoraConfig(**options)).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    return model.eval(), base


FROM_PEFT: dict[str, tuple[str, dict[str, Any], LoRA]] = {
    "a user's usual one": (
        "distilbert",
        {"task_type": "SEQ_CLS", "r": 4, "lora_alpha": 6, "target_modules": ["q_lin", "v_lin"]},
        LoRA(rank=4, alpha=6, targets=["query", "value"]),
    ),
    "dora with patterns": (
        "bert",
        {
            "task_type": "SEQ_CLS",
            "r": 2,
            "lora_alpha": 3,
            "target_modules": ["query", "key"],
            "rank_pattern": {"layer.1.attention.self.query": 3},
            "alpha_pattern": {"key": 5},
            "use_dora": True,
        },
        DoRA(
            rank=2,
            alpha=3,
            targets=["query", "key"],
            rank_pattern={"layer.1.attention.self.query": 3},
            alpha_pattern={"key": 5},
        ),
    ),
    "rslora on chosen layers": (
        "roberta",
        {
            "task_type": "SEQ_CLS",
            "r": 3,
            "lora_alpha": 2,
            "target_modules": ["query", "value"],
            "layers_to_transform": [1],
            "use_rslora": True,
        },
        LoRA(
            rank=3, alpha=2, targets=["query", "value"], layers=[1], scaling="alpha_over_sqrt_rank"
        ),
    ),
    "no head": (
        "bert",
        {"r": 2, "lora_alpha": 3, "target_modules": ["query", "classifier"]},
        LoRA(rank=2, alpha=3, targets="query", head="adapt"),
    ),
}


class TestFromPeft:
    @pytest.mark.parametrize("name", FROM_PEFT)
    def test_the_logits_are_the_same(self, peft: ModuleType, tmp_path: Path, name: str) -> None:
        architecture, options, strategy = FROM_PEFT[name]
        theirs, base = from_peft(peft, architecture, tmp_path, **options)
        batch = tokens(base)
        before = base.eval()(batch)
        ours = strategy.apply(base)
        load_peft(ours, tmp_path)
        logits = ours.eval()(batch)
        assert (logits - before).abs().max() > 1e-2
        torch.testing.assert_close(logits, theirs(**batch).logits, **CLOSE)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_what_we_wrote_comes_back(
        self, tmp_path: Path, architecture: str, strategy: LoRA
    ) -> None:
        ours = trained(architecture, strategy)
        save_peft(ours, tmp_path)
        fresh = strategy.apply(encoder(architecture, dtype=DOUBLE), seed=5)
        load_peft(fresh, tmp_path)
        assert_same(fresh.state(), ours.state())

    def refuses(self, adapted: AdaptedModel, folder: Path, message: str) -> None:
        before = snapshot(adapted)
        with pytest.raises(CheckpointError, match=message) as error:
            load_peft(adapted, folder)
        assert "\n" not in str(error.value)
        assert_same(snapshot(adapted), before)

    @pytest.mark.parametrize(
        ("present", "message"),
        [
            (
                LoRA(rank=2, alpha=4),
                "scaled by 1.5 in the file .*lora_alpha=3, rank 2.* and by 2 in",
            ),
            (LoRA(rank=3, alpha=3), r"is \[2, 32\] in the file and \[3, 32\] in the model"),
            (LoRA(rank=2, alpha=3, scaling="alpha_over_sqrt_rank"), "is scaled by 1.5 in the file"),
            (DoRA(rank=2, alpha=3), "holds LoRA, this model is under DoRA"),
            (LoRA(rank=2, alpha=3, targets="query"), "is only in the file"),
            (LoRA(rank=2, alpha=3, head="adapt"), "belongs to other base weights"),
        ],
    )
    def test_another_strategy_is_refused(self, tmp_path: Path, present: LoRA, message: str) -> None:
        save_peft(trained("bert", LoRA(rank=2, alpha=3)), tmp_path)
        self.refuses(present.apply(encoder("bert", dtype=DOUBLE)), tmp_path, message)

    def test_another_base_is_refused(self, tmp_path: Path) -> None:
        save_peft(trained("bert", LoRA(rank=2)), tmp_path)
        other = LoRA(rank=2).apply(encoder("bert", seed=1, dtype=DOUBLE))
        self.refuses(other, tmp_path, "belongs to other base weights")

    def test_a_head_of_its_own_is_refused_by_a_frozen_one(
        self, peft: ModuleType, tmp_path: Path
    ) -> None:
        options = {"task_type": "SEQ_CLS", "r": 2, "lora_alpha": 3, "target_modules": ["query"]}
        _, base = from_peft(peft, "bert", tmp_path, **options)
        frozen = LoRA(rank=2, alpha=3, targets="query", head="freeze").apply(base)
        self.refuses(frozen, tmp_path, "has a head of its own")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"peft_type": "IA3"}, "holds PEFT's IA3; allowed: LORA"),
            ({"init_lora_weights": "pissa"}, "initialised by pissa, which changes the base"),
            ({"bias": "lora_only"}, "trained biases"),
            (
                {"layer_replication": [[0, 1]]},
                r"no counterpart here: layer_replication=\[\[0, 1\]\]",
            ),
            ({"lora_alpha": "much"}, "is not the configuration of a PEFT adapter"),
            ({"lora_alpha": 6}, "is scaled by 3 in the file"),
            ({"alpha_pattern": {"value": 1}}, "self.value is scaled by 0.5 in the file"),
        ],
    )
    def test_an_adapter_that_computes_something_else_is_refused(
        self, tmp_path: Path, change: dict[str, Any], message: str
    ) -> None:
        adapted = trained("bert", LoRA(rank=2, alpha=3, targets=["query", "value"]))
        save_peft(adapted, tmp_path)
        path = tmp_path / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        self.refuses(adapted, tmp_path, message)

    def test_damaged_files_are_one_line(self, tmp_path: Path) -> None:
        adapted = trained("bert", LoRA(rank=2))
        self.refuses(adapted, tmp_path, r"adapter_config\.json: no such file")
        save_peft(adapted, tmp_path)
        weights = tmp_path / "adapter_model.safetensors"
        tensors = {name: tensor.clone() for name, tensor in load_file(weights).items()}  # no mmap
        weights.write_bytes(weights.read_bytes()[:40])
        self.refuses(adapted, tmp_path, "is not a readable safetensors file")
        weights.unlink()
        self.refuses(adapted, tmp_path, "safe_serialization=True")
        tensors.pop("base_model.model.classifier.bias")
        save_file(tensors, weights)
        self.refuses(adapted, tmp_path, r"classifier\.bias is only in the model")
        (tmp_path / "adapter_config.json").write_text("{")
        self.refuses(adapted, tmp_path, "cannot be read")
