"""BOFT: a butterfly by hand, its blocks by layer, and PEFT's in float64, files both ways."""

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from adapter_cases import MODELS, assert_same, build, inputs, perturb
from safetensors.torch import load_file
from torch import Tensor, nn
from transformer_cases import encoder, tokens

from adapterlab.adapters import BOFT, AdaptedModel, plan
from adapterlab.adapters.budget import fit
from adapterlab.adapters.formats.peft import load_peft, save_peft
from adapterlab.adapters.methods.boft import BOFTLinear, blocks_of, turned
from adapterlab.adapters.methods.oft import OFTLinear
from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
DOUBLE = torch.float64


def moved(layer: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.requires_grad:
                parameter += torch.randn(parameter.shape, generator=generator, dtype=DOUBLE)
    return layer


class TestButterfly:
    def test_which_inputs_are_turned_together(self) -> None:
        """Of 8 inputs in blocks of 2: neighbours, then those 2 apart, then those 4 apart."""
        quarter = Tensor([[0, -1], [1, 0]])  # (x, y) to (y, -x)
        for i, partners in enumerate([(1, 0, 3, 2), (2, 3, 0, 1), (4, 5, 6, 7)]):
            R = torch.eye(2).expand(1, 3, 4, 2, 2).clone()
            R[0, i] = quarter
            for place, partner in enumerate(partners):
                row = torch.zeros(8)
                row[place] = 1
                found = turned(row[None, None], R)[0, 0].nonzero().flatten().tolist()
                assert found == [partner]

    def test_two_factors_by_hand(self) -> None:
        """x M_2 M_1: (1, 2, 3, 4) by quarters 2 apart is (3, 4, -1, -2), then by neighbours."""
        layer = BOFTLinear(nn.Linear(4, 1, bias=False), block_size=2, factors=2)
        with torch.no_grad():
            layer.base.weight.copy_(Tensor([[1, 10, 100, 1000]]))
            layer.boft_R.fill_(1)  # the tangent of half a quarter
            layer.boft_s.fill_(-2)
        y = layer(Tensor([[1, 2, 3, 4]]))
        torch.testing.assert_close(y, Tensor([[-2 * (4 - 30 - 200 + 1000)]]))
        torch.testing.assert_close(layer.merged()(Tensor([[1, 2, 3, 4]])), y)

    @pytest.mark.parametrize(("size", "factors"), [(2, 4), (4, 3), (8, 2), (16, 1)])
    def test_it_is_orthogonal_and_reaches_all_inputs(self, size: int, factors: int) -> None:
        layer = moved(BOFTLinear(nn.Linear(16, 16).double(), block_size=size, factors=factors))
        assert isinstance(layer, BOFTLinear)
        with torch.no_grad():
            layer.base.weight.copy_(torch.eye(16))
        rotated = layer.adapted_matrix() / layer.boft_s[:, None]
        torch.testing.assert_close(rotated @ rotated.mT, torch.eye(16, dtype=DOUBLE), **CLOSE)
        assert (rotated.abs() > 1e-9).all()

    def test_one_factor_is_oft_times_a_scale(self) -> None:
        base = nn.Linear(12, 5).double()
        ours = moved(BOFTLinear(copy.deepcopy(base), block_size=4, factors=1))
        other = OFTLinear(base, block_size=4)
        assert isinstance(ours, BOFTLinear)
        with torch.no_grad():
            other.oft_R.copy_(ours.boft_R[0])
        for x in (torch.randn(3, 12, dtype=DOUBLE), torch.randn(2, 9, 12, dtype=DOUBLE)):
            expected = (other(x) - base.bias) * ours.boft_s + base.bias
            torch.testing.assert_close(ours(x), expected, **CLOSE)


def test_blocks_that_fit_the_inputs() -> None:
    assert blocks_of(784, 2) == (2, (2, 4, 8, 14, 28, 56, 98, 196, 392))
    assert blocks_of(12, 2) == (2, (2, 6))
    assert blocks_of(12, 5) == (2, (2, 6))
    assert blocks_of(6, 2) == (1, (2, 3, 6))
    assert blocks_of(7, 3) == (1, (7,))
    assert blocks_of(1, 2) == (1, ())
    found = plan(BOFT(block_size=4).apply(build(MODELS["mlp"])))
    assert {layer.name: layer.method for layer in found.layers if layer.adapter} == {
        "layers.0": "BOFT, 1 factor of 1 block of 5",
        "layers.1": "BOFT, 2 factors of 2 blocks of 4",
        "layers.2": "BOFT, 1 factor of 2 blocks of 3",
    }


def test_a_budget_sets_the_block() -> None:
    with torch.device("meta"):
        model = MLP((784,), 10, widths=(512,))
    fitted = fit(BOFT(head="freeze"), model, 6_400)
    # Two factors of 98 blocks of 8: 784 · 7, and 512; of 14 it would be 784 · 13.
    assert (fitted.trained, fitted.dial) == (784 * 7 + 512, "block_size")
    assert fit(BOFT(head="freeze"), model, 10**9).trained == 784 * 391 + 512


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match=r"adapter\.block_size=1 must be 2 or more"):
        BOFT(block_size=1)
    with pytest.raises(ConfigError, match=r"adapter\.factors=0 must be 1 or more"):
        BOFT(factors=0)
    with pytest.raises(
        ConfigError, match=r"adapter\.targets: layers\.0 has one input, which cannot"
    ):
        BOFT().apply(MLP((1,), 3, widths=(4,)))


@pytest.fixture
def peft(peft_in_float64: None, butterflies_in_peft: None) -> ModuleType:
    return pytest.importorskip("peft")


def cases(where: str, strategy: BOFT) -> tuple[AdaptedModel, nn.Module, Any]:
    """Return ours, the base that PEFT is given, and a batch."""
    if where == "mlp":
        base = build(MODELS["mlp"], dtype=DOUBLE)
        return strategy.apply(base), build(MODELS["mlp"], dtype=DOUBLE), inputs(dtype=DOUBLE)
    base = encoder(where, dtype=DOUBLE)
    return strategy.apply(base), copy.deepcopy(encoder(where, dtype=DOUBLE).model), tokens(base)


@pytest.mark.parametrize(
    ("where", "strategy"),
    [
        ("mlp", BOFT(block_size=2, factors=1, layers="last 2")),
        ("mlp", BOFT(block_size=2, factors=3, layers=[1])),
        ("bert", BOFT(block_size=4, factors=3, targets=["query", "*output.dense"])),
    ],
    ids=str,
)
def test_it_is_pefts(peft: Any, tmp_path: Path, where: str, strategy: BOFT) -> None:
    ours, base, batch = cases(where, strategy)
    before = ours.eval()(batch)
    perturb(ours)
    save_peft(ours, tmp_path)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path, is_trainable=True).double().eval()
    peft.set_peft_model_state_dict(theirs, load_file(tmp_path / "adapter_model.safetensors"))
    both = [ours(batch), theirs(batch) if where == "mlp" else theirs(**batch).logits]
    assert (both[0] - before).abs().max() > 1e-2
    torch.testing.assert_close(both[1], both[0], **CLOSE)

    for logits in both:
        (logits * Tensor([1.0, -2.0, 0.5]).to(DOUBLE)).square().sum().backward()
    of_peft = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    of_matrices = 0
    for name, parameter in ours.trainable().items():
        place = name.removeprefix("model.")
        theirs_of = [g for n, g in of_peft.items() if place.replace("base.", "") in n]
        if not name.endswith(("boft_R", "boft_s")):
            continue
        (gradient,) = theirs_of
        if name.endswith("boft_s"):
            torch.testing.assert_close(gradient[:, 0], parameter.grad, rtol=1e-8, atol=1e-11)
            continue
        size = gradient.shape[-1]
        rows, columns = torch.triu_indices(size, size, 1)
        # Of Q = (D - Dᵀ) / 2, each of two entries of D has half.
        halves = 2 * gradient[..., rows, columns]
        torch.testing.assert_close(halves, parameter.grad, rtol=1e-8, atol=1e-11)
        of_matrices += 1
    assert of_matrices

    fresh, _, _ = cases(where, strategy)
    load_peft(fresh, tmp_path)
    assert_same(fresh.state(), ours.state())


def test_peft_has_one_block_for_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"and layers.0 has 5 and 1, layers.1 has 4 and 2; exp"):
        save_peft(BOFT(block_size=4).apply(build(MODELS["mlp"])), tmp_path)
    same = BOFT(block_size=4, layers=[1], head="freeze")
    save_peft(same.apply(build(MODELS["mlp"])), tmp_path)
    with pytest.raises(ConfigError, match=r"PEFT's BOFT is of nn\.Linear, and .* is a Conv1D"):
        save_peft(BOFT().apply(encoder("gpt2")), tmp_path)
