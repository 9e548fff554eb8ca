"""Adapter dropout: masks that depend on the layer's own seed and on nothing else."""

import copy
import itertools

import pytest
import torch
from adapter_cases import MODELS, assert_same, build, inputs, perturb, snapshot, train

from adapterlab.adapters import DoRA, LoRA
from adapterlab.adapters.seeded_dropout import SeededDropout


class TestDropout:
    def masks(self, dropout: SeededDropout, draws: int = 3) -> list[torch.Tensor]:
        return [dropout(torch.ones(20, 30)) for _ in range(draws)]

    def test_leaves_the_global_state_alone_and_does_not_read_it(self) -> None:
        dropout = SeededDropout(0.4)
        torch.manual_seed(0)
        dropout.reseed(3)
        before = torch.get_rng_state()
        first = self.masks(dropout)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(99)
        dropout.reseed(3)
        assert all(map(torch.equal, first, self.masks(dropout)))

    def test_masks_differ_from_draw_to_draw_and_from_seed_to_seed(self) -> None:
        dropout = SeededDropout(0.4)
        dropout.reseed(3)
        first, second, _ = self.masks(dropout)
        dropout.reseed(4)
        other = self.masks(dropout)[0]
        assert not torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_eval_and_zero_are_the_identity_and_draw_nothing(self) -> None:
        x = torch.randn(4, 5)
        assert SeededDropout(0.0)(x) is x
        dropout = SeededDropout(0.4)
        dropout.reseed(3)
        assert dropout.eval()(x) is x
        dropout.train()
        after_eval = self.masks(dropout)
        dropout.reseed(3)
        assert all(map(torch.equal, after_eval, self.masks(dropout)))

    @pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
    def test_keeps_one_minus_p_and_the_mean(self, p: float) -> None:
        dropped = SeededDropout(p)(torch.ones(400, 500))
        kept = dropped != 0
        # 200,000 Bernoulli draws: five standard deviations.
        bound = 5 * (p * (1 - p) / kept.numel()) ** 0.5
        assert kept.float().mean().item() == pytest.approx(1 - p, abs=bound)
        torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / (1 - p)))

    def test_gradient_flows_through_what_is_kept(self) -> None:
        x = torch.ones(6, 7, requires_grad=True)
        y = SeededDropout(0.5)(x)
        y.sum().backward()
        assert torch.equal(x.grad, y.detach())

    def test_a_used_one_can_be_copied_and_starts_from_its_seed(self) -> None:
        dropout = SeededDropout(0.4)
        dropout.reseed(3)
        first = self.masks(dropout)
        duplicate = copy.deepcopy(dropout)
        assert all(map(torch.equal, first, self.masks(duplicate)))
        going_on = self.masks(dropout)
        assert not torch.equal(going_on[0], first[0])

    @pytest.mark.parametrize("strategy", [LoRA, DoRA])
    def test_a_used_model_can_be_copied(self, strategy: type[LoRA]) -> None:
        adapted = strategy(rank=2, dropout=0.3).apply(build(MODELS["mlp"]))
        train(adapted, steps=1)
        duplicate = copy.deepcopy(adapted)
        assert_same(snapshot(duplicate), snapshot(adapted))
        assert torch.equal(duplicate.eval()(inputs()), adapted.eval()(inputs()))

    @pytest.mark.parametrize("strategy", [LoRA, DoRA])
    def test_reseed_repeats_a_models_logits(self, strategy: type[LoRA]) -> None:
        adapted = strategy(rank=2, dropout=0.3).apply(build(MODELS["mlp"]))
        perturb(adapted)
        adapted.reseed(3)
        first, second = adapted(inputs()), adapted(inputs())
        adapted.reseed(3)
        assert torch.equal(adapted(inputs()), first)
        adapted.reseed(4)
        assert not torch.equal(adapted(inputs()), first)
        assert not torch.equal(first, second)

    def test_every_layer_has_masks_of_its_own_from_the_start(self) -> None:
        adapted = LoRA(rank=2, dropout=0.5).apply(build(MODELS["encoder"]), seed=5)
        dropouts = [m for m in adapted.modules() if isinstance(m, SeededDropout)]
        masks = [self.masks(dropout, draws=1)[0] for dropout in dropouts]
        assert len(masks) == 7
        assert not any(torch.equal(a, b) for a, b in itertools.combinations(masks, 2))

    def test_masks_follow_the_seed_of_apply(self) -> None:
        def logits(seed: int) -> torch.Tensor:
            adapted = LoRA(rank=2, dropout=0.5).apply(build(MODELS["mlp"]), seed=seed)
            with torch.no_grad():
                for parameter in adapted.trainable().values():
                    parameter.fill_(0.1)  # the same for every seed, so that only masks differ
            return adapted(inputs())

        assert torch.equal(logits(1), logits(1))
        assert not torch.equal(logits(1), logits(2))
