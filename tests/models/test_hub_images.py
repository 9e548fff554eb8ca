"""Image classifiers of transformers: what is read off them, where images go, what is refused."""

from pathlib import Path

import pytest
import torch
from torch import nn

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers

# isort: split

from transformers import SwiftFormerConfig, SwiftFormerForImageClassification

from adapterlab.adapters import Full, Head, LastLayers
from adapterlab.adapters.frozen import frozen_depth
from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.models.hub_images import hf_image, vit_tiny
from adapterlab.models.vision import VisionClassifier
from small_images import CLASSES, FAMILIES, SIDE, saved

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: saved(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


def load(folder: Path, *, seed: int = 0, **options: object) -> VisionClassifier:
    generator = torch.Generator().manual_seed(seed)
    model = hf_image(SHAPE, CLASSES, name_or_path=str(folder), generator=generator, **options)
    return model.eval()


def images(batch: int = 4, side: int = SIDE) -> torch.Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


class TestWeights:
    def test_the_body_is_the_checkpoints_and_the_head_is_drawn(self, folder: Path) -> None:
        state = torch.get_rng_state()
        first, again, other = load(folder), load(folder), load(folder, seed=1)
        assert torch.equal(torch.get_rng_state(), state)
        assert first(images()).shape == (4, CLASSES)
        heads = first.head_modules
        for name, tensor in first.state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor), name
            differs = not torch.equal(other.state_dict()[name], tensor)
            # ViTs set the head's bias to zero, a ResNet draws it.
            assert differs == name.startswith(heads) or name.endswith("bias"), name

    @pytest.mark.parametrize("classes", [CLASSES, CLASSES + 1])
    def test_a_norm_before_the_classifier_is_the_checkpoints(
        self, classes: int, tmp_path: Path
    ) -> None:
        config = SwiftFormerConfig(
            image_size=32, depths=[1, 1], embed_dims=[8, 16], mlp_ratio=2, downsamples=[True, True]
        )
        config.num_labels = CLASSES
        model = SwiftFormerForImageClassification(config)
        with torch.no_grad():
            for tensor in (*model.norm.parameters(), model.norm.running_mean, model.head.weight):
                tensor += 0.25
        model.save_pretrained(tmp_path)
        loaded = hf_image(SHAPE, classes, name_or_path=str(tmp_path))
        assert loaded.drawn == ("head", "dist_head")
        own = model.norm.state_dict()
        for name, tensor in loaded.model.norm.state_dict().items():
            assert torch.equal(tensor, own[name]), name
        if classes == CLASSES:
            assert not torch.equal(loaded.model.head.weight, model.head.weight)

    def test_random_weights_are_another_body(self, folder: Path) -> None:
        pretrained, drawn = load(folder).state_dict(), load(folder, weights="random").state_dict()
        # What is drawn, and not set to zero or one.
        name = next(n for n, t in pretrained.items() if t.ndim > 1 and t.std() > 0)
        assert not torch.equal(pretrained[name], drawn[name])

    def test_a_lacking_weight_of_the_body_is_an_error(self, tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = saved("vit", tmp_path) / "model.safetensors"
        weights = load_file(path)
        del weights["vit.encoder.layer.0.layernorm_before.weight"]
        save_file(weights, path, {"format": "pt"})
        with pytest.raises(CheckpointError, match=r"layernorm_before.weight is missing"):
            load(tmp_path)

    def test_without_weights_for_a_plan(self, folder: Path) -> None:
        with torch.device("meta"):
            model = hf_image(SHAPE, CLASSES, name_or_path=str(folder))
        assert all(parameter.is_meta for parameter in model.parameters())
        assert model.state_dict().keys() == load(folder).state_dict().keys()


class TestImages:
    def test_size_and_figures_are_the_processors(self, folder: Path) -> None:
        pixels = load(folder).pixels
        assert pixels.size == (SIDE, SIDE)
        assert pixels.mean == pytest.approx((0.4,) * 3)
        assert pixels.std == pytest.approx((0.2,) * 3)

    def test_without_a_processor_the_size_is_the_configurations(self, tmp_path: Path) -> None:
        assert load(saved("vit", tmp_path, processor=False)).pixels.size == (SIDE, SIDE)
        assert load(tmp_path).pixels.mean is None

    @pytest.mark.parametrize("family", ["vit", "deit", "dinov2", "swin", "convnext", "resnet"])
    def test_another_size_on_request(self, folders: dict[str, Path], family: str) -> None:
        model = load(folders[family], image_size=24)
        assert model.pixels.size == (24, 24)
        assert model(images(side=24)).shape == (4, CLASSES)

    def test_a_size_that_it_does_not_take_is_refused_by_the_plan(self, tmp_path: Path) -> None:
        saved("vit", tmp_path)
        with (
            torch.device("meta"),
            pytest.raises(ConfigError, match=r"model.image_size=4: the model does not take it"),
        ):
            hf_image(SHAPE, CLASSES, name_or_path=str(tmp_path), image_size=4)
        with pytest.raises(ConfigError, match=r"model.image_size=0 must be 1 or more"):
            load(tmp_path, image_size=0)


class TestParts:
    def test_short_names(self, folders: dict[str, Path]) -> None:
        found = {
            family: {short: len(names) for short, names in load(path).target_aliases.items()}
            for family, path in folders.items()
        }
        encoder = {"attention": 8, "query": 2, "key": 2, "value": 2, "out": 2, "mlp": 4, "conv": 1}
        assert found == {
            **dict.fromkeys(("vit", "deit", "dinov2", "swin"), encoder),
            "convnext": {"mlp": 6, "conv": 5, "depthwise": 3},
            "resnet": {"conv": 8, "pointwise": 1},
        }

    def test_no_image_classifier_is_refused(self, tmp_path: Path) -> None:
        from transformers import BertConfig

        BertConfig().save_pretrained(tmp_path)
        with pytest.raises(ConfigError, match="no image classifier of type bert"):
            load(tmp_path)


class TestHiddenStates:
    def test_logits_go_on_from_them(self, folder: Path) -> None:
        model = load(folder)
        expected = model(images())
        depths = [1, 2, 3]
        if folder.name.startswith("swin"):
            with pytest.raises(ConfigError, match="should give one tensor"):
                model.hidden_states(images(), depths.pop(0))
            depths.pop(0)
        for depth in depths:
            hidden = model.hidden_states(images(), depth)
            fresh = load(folder)  # which has seen no images
            assert torch.equal(fresh({"hidden_states": hidden, "depth": depth}), expected)

    def test_how_far_strategies_leave_a_model_frozen(self, folder: Path) -> None:
        for strategy, depth in (
            (Head(), 3),
            (LastLayers(n=1), 1),
            (LastLayers(n=2), 0),
            (Full(), 0),
        ):
            assert frozen_depth(strategy.apply(load(folder))) == depth, strategy


def test_statistics_of_frozen_norms_stay(folders: dict[str, Path]) -> None:
    adapted = LastLayers(n=1).apply(load(folders["resnet"])).train()
    norms = {n: m for n, m in adapted.model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    before = {name: norm.running_mean.clone() for name, norm in norms.items()}
    adapted(images())
    moved = {n for n, norm in norms.items() if not torch.equal(norm.running_mean, before[n])}
    assert moved == {name for name in norms if ".stages.1." in name}


class TestViTTiny:
    def test_it_is_drawn_for_images_as_they_are(self) -> None:
        def made() -> VisionClassifier:
            return vit_tiny((1, 8, 12), CLASSES, generator=torch.Generator().manual_seed(0)).eval()

        x = torch.randn(2, 1, 8, 12)
        assert made()(x).shape == (2, CLASSES)
        assert torch.equal(made()(x), made()(x))
        assert made().pixels is None
        assert len(made().blocks) == 4

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"patch_size": 5}, "patch_size=5 does not divide images of 8x12 pixels"),
            ({"num_heads": 3}, "num_heads=3 does not divide hidden_size=64"),
            ({"num_layers": 0}, "num_layers=0 must be 1 or more"),
            ({"dropout": 1.0}, "dropout=1 must be at least 0 and below 1"),
        ],
    )
    def test_sizes_that_cannot_be(self, options: dict[str, float], said: str) -> None:
        with pytest.raises(ConfigError, match=f"model.{said}"):
            vit_tiny((1, 8, 12), CLASSES, **options)
