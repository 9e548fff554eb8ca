"""Methods of PEFT that are no LoRA, in float64: logits, gradients, and files both ways.

Each model is written by `save_peft` and read by PEFT as one that goes on training, so that names,
shapes and options are PEFT's own. What PEFT makes by itself, of a configuration as its users write
it, is read back.
"""

import copy
import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from adapter_cases import MODELS, assert_same, build, inputs, perturb
from peft_methods import METHODS
from safetensors.torch import load_file
from torch import Tensor, nn
from transformer_cases import ARCHITECTURES, encoder, tokens

from adapterlab.adapters import IA3, AdaptedModel, SHiRA
from adapterlab.adapters.formats.peft import load_peft, method_of, save_peft
from adapterlab.base.errors import CheckpointError, ConfigError

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
DOUBLE = torch.float64

pytestmark = pytest.mark.usefixtures("peft_in_float64", "butterflies_in_peft")


CASES = [
    (name, what, where)
    for name, method in METHODS.items()
    for i, what in enumerate(method.ours)
    for where in ("mlp", *list(ARCHITECTURES)[: 1 if i else None])
]
"""Each method on every model, further options of it on one of each kind."""


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    return pytest.importorskip("peft")


def model_and_batch(where: str) -> tuple[nn.Module, nn.Module, Any]:
    """Return a base, the module of it that PEFT is given, and a batch."""
    if where == "mlp":
        base = build(MODELS["mlp"], dtype=DOUBLE)
        return base, copy.deepcopy(base), inputs(dtype=DOUBLE)
    base = encoder(where, dtype=DOUBLE)
    return base, copy.deepcopy(base.model), tokens(base)


def logits_of(model: nn.Module, batch: Any) -> Tensor:
    if isinstance(batch, Tensor):
        return model(batch)
    return model(batch) if isinstance(model, AdaptedModel) else model(**batch).logits


def read_by_peft(peft: ModuleType, base: nn.Module, folder: Path) -> nn.Module:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(base, folder, is_trainable=True)
    assert not [str(w.message) for w in caught if "missing adapter keys" in str(w.message)]
    model = model.double()  # it makes its own in float32, and reads them once more
    peft.set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
    return model


@pytest.mark.parametrize(("name", "what", "where"), CASES)
def test_logits_gradients_and_files(
    peft: ModuleType, tmp_path: Path, name: str, what: str, where: str
) -> None:
    strategy = METHODS[name].ours[what]
    base, their_base, batch = model_and_batch(where)
    before = logits_of(their_base, batch)
    try:
        ours = strategy.apply(base)
    except ConfigError:
        assert where == "mlp"  # which lacks norms
        return
    perturb(ours)
    ours.eval()
    save_peft(ours, tmp_path)
    theirs = read_by_peft(peft, their_base, tmp_path).eval()
    both = [logits_of(model, batch) for model in (ours, theirs)]
    assert (both[0] - before).abs().max() > 1e-2
    torch.testing.assert_close(both[1], both[0], **CLOSE)

    weights = torch.tensor([1.0, -2.0, 0.5], dtype=DOUBLE)
    for logits in both:
        (logits * weights).square().sum().backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    by_shape: dict[tuple[int, ...], list[Tensor]] = {}
    for gradient in gradients.values():
        by_shape.setdefault(tuple(gradient.shape), []).append(gradient)
    trained = ours.trainable()
    assert len(gradients) == len(trained)
    for own_name, parameter in trained.items():
        assert parameter.grad is not None
        near = [g for g in by_shape[tuple(parameter.shape)] if _near(parameter.grad, g)]
        assert near, own_name

    fresh = strategy.apply(model_and_batch(where)[0], seed=5)
    load_peft(fresh, tmp_path)
    assert_same(fresh.state(), ours.state())


@pytest.mark.parametrize("name", ["hira", "fourierft", "loha", "lokr", "miss", "delora", "hra"])
def test_transposed_layers(peft: ModuleType, tmp_path: Path, name: str) -> None:
    """Those of GPT-2; what PEFT has not, it is not given."""
    strategy = next(iter(METHODS[name].ours.values()))
    base, their_base, batch = model_and_batch("gpt2")
    ours = strategy.apply(base)
    perturb(ours)
    if name not in ("hira", "fourierft"):
        with pytest.raises(ConfigError, match=r"is of nn\.Linear, and .* is a Conv1D; export"):
            save_peft(ours, tmp_path)
        return
    save_peft(ours, tmp_path)
    theirs = read_by_peft(peft, their_base, tmp_path).eval()
    torch.testing.assert_close(logits_of(theirs, batch), ours.eval()(batch), **CLOSE)
    fresh = strategy.apply(model_and_batch("gpt2")[0], seed=5)
    load_peft(fresh, tmp_path)
    assert_same(fresh.state(), ours.state())


def _near(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", METHODS)
def test_what_peft_makes_is_read(peft: ModuleType, tmp_path: Path, name: str) -> None:
    method = METHODS[name]
    base, their_base, batch = model_and_batch("bert")
    before = base.eval()(batch)
    kind, options = method.config
    config = getattr(peft, kind)(task_type="SEQ_CLS", **options)
    theirs = peft.get_peft_model(their_base, config).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=DOUBLE)
    theirs.eval().save_pretrained(tmp_path)
    ours = method.on_bert.apply(base)
    load_peft(ours, tmp_path)
    logits = ours.eval()(batch)
    assert (logits - before).abs().max() > 1e-2
    torch.testing.assert_close(logits, theirs(**batch).logits, **CLOSE)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_not_ours_is_refused(tmp_path: Path, name: str) -> None:
    strategy = METHODS[name].on_bert
    adapted = strategy.apply(encoder("bert", dtype=DOUBLE))
    save_peft(adapted, tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    method = method_of(strategy)
    changes = [({"peft_type": "LORA"}, "holds PEFT's LORA"), ({"layer_replication": [1]}, "no cou")]
    for option, default in getattr(method, "counting", {}).items():
        other = not default if isinstance(default, bool) else 77
        if other == config[option]:
            other = default
        changes.append(({option: other}, f"{option} is {other} in the file"))
    for change, message in changes:
        path.write_text(json.dumps(config | change))
        with pytest.raises(CheckpointError, match=message):
            load_peft(adapted, tmp_path)


def test_a_mask_that_is_not_made_again_is_taken_over_or_refused(tmp_path: Path) -> None:
    adapted = SHiRA(rank=2, random_seed=3).apply(encoder("bert", dtype=DOUBLE))
    perturb(adapted)
    save_peft(adapted, tmp_path)
    with pytest.raises(CheckpointError, match="random_seed is 3 in the file and 0 in the model"):
        load_peft(SHiRA(rank=2).apply(encoder("bert", dtype=DOUBLE)), tmp_path)
    any_mask = SHiRA(rank=2, mask="gradient").apply(encoder("bert", dtype=DOUBLE))
    load_peft(any_mask, tmp_path)
    batch = tokens(adapted)
    assert torch.equal(any_mask.eval()(batch), adapted.eval()(batch))


def test_peft_looks_at_the_ends_of_names_for_inputs_too(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(2, 2)
            self.also_first = nn.Linear(2, 2)
            self.head = nn.Linear(2, 2)
            self.head_modules, self.blocks = ("head",), ("first", "also_first")

    with pytest.raises(ConfigError, match="would scale the inputs of also_first"):
        save_peft(IA3(feedforward="first").apply(Twice()), tmp_path)
