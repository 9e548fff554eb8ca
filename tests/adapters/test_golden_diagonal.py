"""Methods that scale, rotate or mask: values worked out by hand, and mistakes in their options."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from adapter_cases import MODELS, build, perturb
from convolutional import convolutional
from torch import Tensor, nn
from transformer_cases import encoder

from adapterlab.adapters import (
    IA3,
    OFT,
    SSF,
    AdaptedModel,
    LNTuning,
    SHiRA,
    Strategy,
    load_adapter,
    merge,
    plan,
    save_adapter,
)
from adapterlab.adapters.budget import fit
from adapterlab.adapters.cayley import rotations
from adapterlab.adapters.methods.ia3 import IA3Linear
from adapterlab.adapters.methods.oft import OFTLinear, nearest_divisor
from adapterlab.adapters.methods.shira import SHiRALinear, in_rows
from adapterlab.adapters.methods.ssf import SSFLayer
from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.packing.trial import try_out


def linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        layer.weight.copy_(Tensor(weight))
        layer.bias.copy_(Tensor(bias))
    return layer


def adapted_layers(adapted: AdaptedModel) -> dict[str, str]:
    return {layer.name: layer.method for layer in plan(adapted).layers if layer.adapter}


class TestIA3:
    def test_outputs_and_inputs_by_hand(self) -> None:
        base, x = linear([[1, 2], [3, 4], [5, 6]], [1, 0, -1]), Tensor([1, 10])
        outputs, inputs = IA3Linear(base), IA3Linear(base, feedforward=True)
        with torch.no_grad():
            outputs.ia3_l.copy_(Tensor([[2], [0], [-1]]))
            inputs.ia3_l.copy_(Tensor([[3, -1]]))
        assert outputs(x).tolist() == [2 * 22, 0, -64]
        assert inputs(x).tolist() == [3 - 20 + 1, 9 - 40, 15 - 60 - 1]
        for layer in (outputs, inputs):
            assert torch.equal(layer.merged()(x), layer(x))
        assert torch.equal(outputs.merged().bias, Tensor([2, 0, 1]))

    def test_the_papers_layers_by_architecture(self) -> None:
        layer = {"outputs": "(IA)³ on its outputs", "inputs": "(IA)³ on its inputs"}
        found = adapted_layers(IA3(layers=[1]).apply(encoder("distilbert")))
        block = "model.distilbert.transformer.layer.1"
        assert found == {
            f"{block}.attention.k_lin": layer["outputs"],
            f"{block}.attention.v_lin": layer["outputs"],
            f"{block}.ffn.lin2": layer["inputs"],
        }
        found = adapted_layers(IA3().apply(encoder("gpt2")))
        assert {name.rpartition("h.")[2] for name in found} == {
            f"{i}.{name}" for i in (0, 1) for name in ("attn.c_attn", "mlp.c_proj")
        }
        found = adapted_layers(IA3().apply(encoder("llama")))
        assert {name.rpartition(".")[2] for name in found} == {"k_proj", "v_proj", "down_proj"}
        found = adapted_layers(IA3().apply(build(MODELS["mlp"])))
        assert found == {f"layers.{i}": layer["outputs"] for i in range(3)}


class TestSSF:
    def test_a_layer_and_a_norm_by_hand(self) -> None:
        layer, x = SSFLayer(linear([[1, 2], [3, 4], [5, 6]], [1, 0, -1])), Tensor([1, 10])
        norm = SSFLayer(nn.BatchNorm1d(3, eps=0.0).eval())
        norm.base.running_mean += Tensor([2, 3, 4])  # type: ignore[operator]
        norm.base.running_var *= 4  # type: ignore[operator]
        for wrapped in (layer, norm):
            with torch.no_grad():
                wrapped.scale.copy_(Tensor([2, 0, -1]))
                wrapped.shift.copy_(Tensor([1, 5, 0.5]))
        y = layer(x)
        assert y.tolist() == [2 * 22 + 1, 5, -64 + 0.5]
        assert norm(y[None]).tolist() == [[2 * 43 / 2 + 1, 5, 67.5 / 2 + 0.5]]
        for wrapped, rows in ((layer, x[None]), (norm, y[None])):
            assert torch.equal(wrapped.merged()(rows), wrapped(rows))

    def test_a_norm_over_several_dimensions_is_scaled_entry_by_entry(self) -> None:
        norm, x = SSFLayer(nn.LayerNorm([3, 3]), init="normal"), torch.randn(4, 3, 3)
        assert norm.scale.shape == norm.weight.shape == (3, 3)
        torch.testing.assert_close(norm.merged()(x), norm(x))

    def test_what_it_is_on(self) -> None:
        found = adapted_layers(SSF(layers=[0]).apply(build(MODELS["encoder"])))
        assert found == {
            "layers.0.norm": "scaled and shifted",
            "layers.0.query": "scaled",  # no bias, so no place for a shift
            "layers.0.output": "scaled and shifted",
        }
        both = SSF(targets=["all-linear", "all-conv"]).apply(build(lambda: convolutional(3)))
        assert {n.removeprefix("model.").rpartition(".")[2] for n in adapted_layers(both)} == {
            *("stem", "norm", "conv", "output"),
        }

    def test_the_papers_first_values(self) -> None:
        layer = SSFLayer(nn.Linear(2, 20_000), init="normal")
        for vector, mean in ((layer.scale, 1), (layer.shift, 0)):
            assert vector.mean().item() == pytest.approx(mean, abs=1e-3)
            assert vector.std().item() == pytest.approx(0.02, rel=0.03)
        adapted = SSF(init="normal").apply(build(MODELS["mlp"]), seed=3)
        again = SSF(init="normal").apply(build(MODELS["mlp"]), seed=3)
        for name, parameter in adapted.trainable().items():
            assert torch.equal(parameter, again.trainable()[name])

    def test_convolutions_merge_and_are_packed(self) -> None:
        strategy = SSF(targets=["all-linear", "all-conv"], init="normal")
        make = partial(build, lambda: convolutional(3), dtype=torch.float64)
        models = [strategy.apply(make(), seed=seed) for seed in range(3)]
        x = torch.randn(4, 5, dtype=torch.float64)
        for model in models:
            perturb(model, seed=len(model.trainable()))
            torch.testing.assert_close(merge(model)(x), model.eval()(x), rtol=1e-12, atol=1e-12)
        share_frozen(models)
        assert try_out(models, x, torch.tensor([0, 1, 2, 0])) == [0, 1, 2]


class TestLNTuning:
    def test_what_it_trains(self) -> None:
        names = adapted_layers(LNTuning().apply(encoder("distilbert")))
        assert len(names) == 1 + 2 * 2
        assert set(names.values()) == {"in full"}
        llama = adapted_layers(LNTuning().apply(encoder("llama")))
        assert len(llama) == 2 * 2 + 1
        assert set(llama.values()) == {"in full"}

    def test_in_one_way(self) -> None:
        model = encoder("bert")
        assert LNTuning(targets=["*"]).in_one_way(model) == {"targets": "*"}
        assert LNTuning(targets="*LayerNorm").in_one_way(model) == {"targets": "*"}
        some = LNTuning(targets="layer.1.*").in_one_way(model)["targets"]
        assert len(some) == 2
        assert all(".layer.1." in name for name in some)


class TestOFT:
    def test_a_rotation_by_hand(self) -> None:
        layer = OFTLinear(linear([[1, 2], [3, 4], [5, 6]], [1, 0, -1]), block_size=2)
        with torch.no_grad():
            layer.oft_R.fill_(0.5)  # the tangent of half the angle
        R = rotations(layer.oft_R, 2)
        torch.testing.assert_close(R, Tensor([[[0.6, -0.8], [0.8, 0.6]]]))
        x = Tensor([1, 10])  # turned to 8.6, 5.2
        torch.testing.assert_close(layer(x), Tensor([20, 46.6, 73.2]))
        torch.testing.assert_close(layer.merged()(x), layer(x))

    @pytest.mark.parametrize("size", [2, 5, 16])
    def test_rotations_are_cayleys(self, size: int) -> None:
        generator = torch.Generator().manual_seed(size)
        count = size * (size - 1) // 2
        above = torch.randn(3, count, generator=generator, dtype=torch.float64).requires_grad_()
        R, eye = rotations(above, size), torch.eye(size, dtype=torch.float64)
        torch.testing.assert_close(R @ R.mT, eye.expand(3, -1, -1), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(torch.linalg.det(R), torch.ones(3, dtype=torch.float64))
        assert torch.autograd.gradcheck(lambda vector: rotations(vector, size), above[:1])
        assert torch.equal(rotations(torch.zeros_like(above), size), eye.expand(3, -1, -1))

    def test_each_layer_has_the_nearest_block(self) -> None:
        wanted = {(784, 32): 28, (512, 32): 32, (5, 2): 5, (12, 5): 4, (7, 100): 7, (784, 15): 14}
        assert {key: nearest_divisor(*key) for key in wanted} == wanted
        found = adapted_layers(OFT(block_size=4).apply(build(MODELS["mlp"])))
        assert found == {
            "layers.0": "OFT, 1 block of 5",
            "layers.1": "OFT, 2 blocks of 4",
            "layers.2": "OFT, 2 blocks of 3",
        }

    def test_a_budget_sets_the_block(self) -> None:
        with torch.device("meta"):
            model = MLP((784,), 10, widths=(512,))
        fitted = fit(OFT(head="freeze"), model, 6_000)
        # 784 = 49 blocks of 16, and 392 (16 - 1) numbers; of 28 it would be 10,584.
        assert (fitted.trained, fitted.dial) == (5_880, "block_size")
        assert nearest_divisor(784, fitted.strategy.options()["block_size"]) == 16
        assert fit(OFT(head="freeze"), model, 1).strategy == OFT(block_size=2, head="freeze")
        assert fit(OFT(head="freeze"), model, 10**9).trained == 784 * 783 // 2


@dataclass
class Batch:
    inputs: Tensor
    labels: Tensor


class TestSHiRA:
    def test_entries_by_hand(self) -> None:
        layer = SHiRALinear(linear([[1, 2], [3, 4], [5, 6]], [1, 0, -1]), torch.tensor([1, 4]))
        with torch.no_grad():
            layer.shira_weight.copy_(Tensor([10, -5]))
        x = Tensor([1, 10])
        assert layer(x).tolist() == [1 + 120 + 1, 43, 60 - 1]
        assert torch.equal(layer.merged()(x), layer(x))
        assert layer.describe() == "SHiRA, 2 entries, 33.3%"

    def test_the_largest_weights(self) -> None:
        model = MLP((2,), 2, widths=(6,))
        W = torch.arange(12.0).view(6, 2) * Tensor([1, -1])
        with torch.no_grad():
            model.layers[0].weight.copy_(W)
        adapted = SHiRA(rank=1, mask="magnitude").apply(model)
        rows, columns = adapted.model.get_submodule("layers.0").shira_indices.tolist()
        assert rows == [2, 2, 3, 3, 4, 4, 5, 5]
        assert columns == [0, 1] * 4

    @pytest.mark.parametrize("mask", ["gradient", "snip"])
    def test_the_largest_gradients(self, mask: str) -> None:
        base = build(MODELS["mlp"], dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        batches = [
            Batch(
                torch.randn(4, 5, generator=generator, dtype=torch.float64),
                torch.randint(3, (4,), generator=generator),
            )
            for _ in range(3)
        ]
        strategy = SHiRA(rank=1, mask=mask)  # type: ignore[arg-type]
        assert strategy.first_batches == 8
        adapted = strategy.apply(copy.deepcopy(base)).eval()
        found = strategy.first_values(adapted, batches, generator)
        assert not any(p.requires_grad for n, p in adapted.model.named_parameters() if "base" in n)
        loss = sum(F.cross_entropy(base(batch.inputs), batch.labels) for batch in batches)
        loss.backward()  # type: ignore[union-attr]
        assert found.keys() == {f"layers.{i}.shira_indices" for i in range(3)}
        assert found.keys() <= adapted.state().keys()
        for i, layer in enumerate(base.layers):
            G = layer.weight.grad
            score = (G if mask == "gradient" else G * layer.weight).abs().flatten()
            places = in_rows(found[f"layers.{i}.shira_indices"], layer.weight)
            others = torch.ones(len(score), dtype=torch.bool)
            others[places] = False
            assert len(places) == sum(layer.weight.shape)
            assert score[places].min() >= score[others].max()
            assert torch.equal(places, places.sort().values)

    def test_masks_that_checkpoints_hold_are_each_lanes_own(self, tmp_path: Path) -> None:
        base = build(MODELS["mlp"], dtype=torch.float64)
        strategies = [SHiRA(rank=1 + i % 2, mask="gradient") for i in range(3)]
        models = [strategy.apply(copy.deepcopy(base)) for strategy in strategies]
        x, labels = torch.randn(6, 5, dtype=torch.float64), torch.arange(6) % 3
        for i, model in enumerate(models):
            batch = Batch(x[i : i + 3], labels[i : i + 3])
            found = model.strategy.first_values(model, [batch], torch.Generator())
            for name, places in found.items():
                model.state()[name].copy_(places)
        first, last = (models[i].state()["layers.0.shira_indices"] for i in (0, 2))
        assert not torch.equal(first, last)
        for model in models:
            perturb(model)
        share_frozen(models)
        assert try_out(models, x, labels) == [0, 1, 2]
        pack = PackedModel(models, [0, 0, 0])
        pack.keep([1, 2])
        torch.testing.assert_close(
            pack.eval()(x, 6, together=True)[1], models[2].eval()(x), rtol=1e-12, atol=1e-12
        )
        assert pack.lane_state(1).keys() == models[2].state().keys()
        save_adapter(models[2], tmp_path / "adapter.safetensors")
        fresh = strategies[2].apply(copy.deepcopy(base))
        load_adapter(fresh, tmp_path / "adapter.safetensors")
        assert torch.equal(fresh.eval()(x), models[2](x))


MISTAKES: dict[str, tuple[Callable[[], Strategy], str, str]] = {
    "feedforward beside the targets": (
        lambda: IA3(targets=["layers.0"], feedforward=["layers.1"]),
        "mlp",
        r"adapter\.feedforward: 'layers\.1' is none of the targets; layers: layers\.0",
    ),
    "a convolution": (
        lambda: IA3(targets=["conv"]),
        "convolutional",
        r"adapter\.targets: model\.layers\.0\.conv is a convolution, and adapter=ia3 is of linear",
    ),
    "no norm": (
        lambda: LNTuning(),
        "mlp",
        "adapter=ln_tuning: MLP has no layer norms outside its head; models that have them: minilm",
    ),
    "no such norm": (
        lambda: LNTuning(targets="nrom"),
        "encoder",
        "'nrom' matches no layer norm; n",
    ),
    "no norm named": (lambda: LNTuning(targets=()), "encoder", "adapter.targets is empty"),
    "first values": (lambda: SSF(init="nromal"), "mlp", "init=nromal; .*did you mean normal"),
    "a block of 1": (lambda: OFT(block_size=1), "mlp", "adapter.block_size=1 must be 2 or more"),
    "rotated convolution": (lambda: OFT(targets="conv"), "convolutional", "adapter=oft is of lin"),
    "more entries than there are": (
        lambda: SHiRA(rank=4),
        "mlp",
        "rank=4: layers.0 would have 52 entries of 40; allowed there: 1 to 3",
    ),
    "mask": (lambda: SHiRA(mask="snap"), "mlp", "adapter.mask=snap; .*did you mean snip"),  # type: ignore[arg-type]
    "no entries": (lambda: SHiRA(rank=0), "mlp", "adapter.rank=0 must be 1 or more"),
    "seed of a mask": (lambda: SHiRA(random_seed=-1), "mlp", "random_seed=-1 must be 0 or more"),
    "unknown target": (lambda: IA3(targets="querry"), "mlp", "'querry' matches no layer"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(name: str) -> None:
    make, where, message = MISTAKES[name]
    model = convolutional(3) if where == "convolutional" else build(MODELS[where])
    with pytest.raises(ConfigError, match=message) as error:
        make().apply(model)
    assert "\n" not in str(error.value)


def test_targets_in_one_way() -> None:
    model = encoder("bert")
    auto = IA3().in_one_way(model)
    exact = IA3(targets=sorted(IA3().chosen(model)), feedforward=auto["feedforward"])
    assert exact.in_one_way(model) == auto
