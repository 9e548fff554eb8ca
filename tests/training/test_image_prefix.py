"""Training on features of frozen layers is training on the images."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters import AdaptedModel, BitFit, Full, Head, LastLayers, LoRA, Strategy
from adapterlab.data.images import ImageBatches
from adapterlab.models import MLP
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.training.prefix.frozen_prefix import Prefix
from adapterlab.training.prefix.of_images import use_image_prefix
from small_images import SIDE, classifier, data

STRATEGIES: dict[str, tuple[str, Strategy, int]] = {
    "vit-head": ("vit", Head(), 3),
    "resnet-head": ("resnet", Head(), 3),
    "swin-head": ("swin", Head(), 3),
    "resnet-last_layers": ("resnet", LastLayers(n=1), 1),
    "convnext-last_layers": ("convnext", LastLayers(n=1), 1),
    "vit-lora": ("vit", LoRA(rank=2, targets="attention", layers="last 1", dropout=0.3), 1),
    "resnet-lora": ("resnet", LoRA(rank=2, targets="conv", layers="last 1"), 1),
}


def use(adapted: AdaptedModel, batches: ImageBatches, cache: Path, **options: Any) -> Prefix:
    given = {"max_gib": 1.0, "epochs": 3, "device": torch.device("cpu"), "precision": "64-true"}
    return use_image_prefix(adapted, batches, cache=cache, **(given | options))


def train(adapted: AdaptedModel, batches: ImageBatches) -> tuple[list[float], dict[str, Tensor]]:
    optimizer = torch.optim.AdamW(adapted.trainable().values(), lr=0.02)
    adapted.train()
    losses = []
    for epoch in range(3):
        torch.manual_seed(epoch)
        adapted.reseed(epoch)
        for batch in batches.training_batches(epoch):
            optimizer.zero_grad()
            loss = F.cross_entropy(adapted(batch.inputs), batch.labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    adapted.eval()
    with torch.no_grad():
        losses += [float(adapted(b.inputs).sum()) for b in batches.batches("validation")]
        losses += [float(adapted(b.inputs).sum()) for b in batches.batches("test")]
    return losses, adapted.trainable()


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_whole_training_is_the_same(name: str, tmp_path: Path) -> None:
    family, strategy, depth = STRATEGIES[name]
    plain = train(strategy.apply(classifier(family)), data())
    adapted, batches = strategy.apply(classifier(family)), data()
    prefix = use(adapted, batches, tmp_path)
    assert (prefix.depth, prefix.found, prefix.why) == (depth, False, "")
    (first, *_) = batches.batches("validation")
    assert first.inputs["depth"] == depth
    assert first.inputs["hidden_states"].dtype == torch.float64
    losses, trained = train(adapted, batches)
    torch.testing.assert_close(losses, plain[0], rtol=1e-9, atol=1e-9)
    for parameter, tensor in trained.items():
        torch.testing.assert_close(tensor, plain[1][parameter], rtol=1e-9, atol=1e-9)
    again = data()
    assert use(strategy.apply(classifier(family), seed=5), again, tmp_path).found
    assert not use(strategy.apply(classifier(family, seed=1)), again, tmp_path).found


def test_lanes_of_a_pack_read_them_too(tmp_path: Path) -> None:
    for strategy in (Head(), LoRA(rank=2, targets="conv", layers="last 1")):
        lanes = [strategy.apply(classifier("resnet"), seed=seed).eval() for seed in range(2)]
        share_frozen(lanes)
        batches = data()
        (images, *_) = batches.batches("validation")
        pack = PackedModel(lanes, [0, 0]).eval()
        plain = pack(images.inputs, 7, together=True)
        assert use(lanes[0], batches, tmp_path).depth
        (features, *_) = batches.batches("validation")
        given = pack(features.inputs, 7, together=True)
        torch.testing.assert_close(given, plain, rtol=1e-10, atol=1e-12)
        for lane, model in enumerate(lanes):
            torch.testing.assert_close(plain[lane], model(images.inputs), rtol=1e-10, atol=1e-12)
        two = batches.side_by_side([(0, 0), (1, 0)])
        assert len(next(iter(two)).inputs["hidden_states"]) == 16


class TestOff:
    @pytest.mark.parametrize(
        ("family", "strategy", "why"),
        [
            ("resnet", Full(), "trains or adapts the first layer"),
            ("vit", BitFit(), "trains or adapts the first layer"),
            ("swin", LastLayers(n=1), "cannot go on from layer 1 (Swin"),
        ],
    )
    def test_where_it_cannot_be(
        self, family: str, strategy: Strategy, why: str, tmp_path: Path
    ) -> None:
        batches = data()
        assert why in use(strategy.apply(classifier(family)), batches, tmp_path).why
        (first, *_) = batches.batches("train")
        assert first.inputs.shape == (20, 3, SIDE, SIDE)

    def test_with_augmentation(self, tmp_path: Path) -> None:
        for options in ({"flip": True}, {"crop": 2}):
            prefix = use(Head().apply(classifier("vit")), data(**options), tmp_path)
            assert prefix.why == "images are augmented, and so are others in every epoch"

    def test_in_one_epoch_unless_it_is_small(self, tmp_path: Path) -> None:
        adapted = LastLayers(n=1).apply(classifier("vit"))
        assert use(adapted, data(), tmp_path, epochs=1).why == "one epoch reads each image once"
        assert use(Head().apply(classifier("vit")), data(), tmp_path, epochs=1).depth == 3

    def test_without_room(self, tmp_path: Path) -> None:
        prefix = use(Head().apply(classifier("vit")), data(), tmp_path, max_gib=1e-9)
        assert "GiB, hardware.prefix_gib allows 1e-09" in prefix.why

    def test_where_features_are_random(self, tmp_path: Path) -> None:
        model = classifier("vit")
        body = model.model.vit.layernorm
        # By a function, as timm's networks do: no module of dropout shows it.
        body.forward = lambda x: F.dropout(nn.LayerNorm.forward(body, x), 0.5, model.training)
        assert use(Head().apply(model), data(), tmp_path).why == (
            "what the frozen layers give while training is random"
        )

    def test_a_model_without_hidden_states(self, tmp_path: Path) -> None:
        adapted = Head().apply(MLP((3, SIDE, SIDE), 3).double())
        assert use(adapted, data(), tmp_path).why == "MLP gives no hidden states"
