"""A module from elsewhere as a model: what it says of itself, and whole runs over it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adapterlab.adapters import Head, LoRA
from adapterlab.adapters.weights import weight_layers
from adapterlab.app import cli
from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.models import ClassifierModel, protocol, wrapped
from adapterlab.models.protocol import Adaptable, adaptable
from adapterlab.packing.memory import Load, PackMemory, pack_memory
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.single import run
from adapterlab.studies.planning.packing import plan_packs
from lab import Outcome, tiny

VISION = """
import adapterlab.base.torchvision_compat

# isort: split

import torch
import torchvision
from torch import nn

from adapterlab.models import ClassifierModel, wrapped


def resnet(input_shape: list[int], num_classes: int, *, generator: torch.Generator
           ) -> ClassifierModel:
    def make() -> nn.Module:
        model = torchvision.models.ResNet(
            torchvision.models.resnet.BasicBlock, [1, 1, 0, 0], num_classes=num_classes
        )
        model.conv1 = nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False)
        model.layer3 = model.layer4 = nn.Identity()
        model.fc = nn.Linear(128, num_classes)
        return model

    return wrapped(make, head="fc", blocks=["layer1", "layer2"], generator=generator)


def vit(input_shape: list[int], num_classes: int, *, generator: torch.Generator
        ) -> ClassifierModel:
    def make() -> nn.Module:
        model = torchvision.models.VisionTransformer(
            input_shape[1], 4, 2, 2, 16, 32, dropout=0.1, num_classes=num_classes
        )
        model.conv_proj = nn.Conv2d(input_shape[0], 16, 4, 4)
        return model

    blocks = [f"encoder.layers.encoder_layer_{i}" for i in range(2)]
    return wrapped(make, head="heads", blocks=blocks, generator=generator)
"""


class Network(nn.Module):
    """Two layers under names of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4))
        self.top = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(self.body(x))


def network(**options: Any) -> ClassifierModel:
    arguments = {"head": "top", "blocks": ["body.0", "body.2"], "generator": None, **options}
    return wrapped(Network, **arguments)


class TestWhatItSays:
    def test_names_are_those_of_the_module(self) -> None:
        model = network(target_aliases={"first": ["body.0"]})
        assert model.head_modules == ("model.top",)
        assert model.blocks == ("model.body.0", "model.body.2")
        chosen = LoRA(rank=2, targets="first").apply(model).trainable()
        assert {n for n in chosen if "lora" in n} == {f"model.body.0.lora_{f}" for f in "AB"}

    def test_the_rest_are_the_defaults(self) -> None:
        model = network()
        said = (model.is_chain, model.frozen_dropout, model.input_names, model.max_tokens)
        assert said == (False, False, (), None)
        assert (model.vocab_size, model.hidden_states, model.architecture) == (None, None, None)

    def test_a_module_that_only_names_head_and_blocks_has_them_too(self) -> None:
        plain = Network()
        plain.head_modules, plain.blocks, plain.max_tokens = ("top",), (), 7
        said = adaptable(plain)
        assert (said.head_modules, said.blocks, said.max_tokens) == (("top",), (), 7)
        assert (said.is_chain, said.hidden_states) == (False, None)

    def test_a_module_that_names_none_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="Network cannot be adapted: it names no head_mod"):
            adaptable(Network())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"head": "fc"}, r"head names 'fc', and there is no such module; modules: body, top"),
            ({"blocks": ["body.0", "body.9"]}, r"blocks names 'body.9'.*body.0, body.1, body.2"),
            ({"target_aliases": {"q": ["x"]}}, "q names 'x'"),
            ({"head": ()}, "head names no module"),
        ],
    )
    def test_names_that_are_none(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            network(**options)

    def test_attention_reads_its_last_layer_and_never_calls_it(self) -> None:
        def make() -> nn.Module:
            return nn.ModuleDict({"attention": nn.MultiheadAttention(4, 2), "top": nn.Linear(4, 2)})

        model = wrapped(make, head="top", blocks=["attention"], generator=None)
        assert weight_layers(model, head=False) == {}


class TestWeights:
    def test_draws_come_from_the_generator_alone(self) -> None:
        states = []
        for seed in (3, 3, 4):
            before = torch.get_rng_state()
            generator = torch.Generator().manual_seed(seed)
            states.append(network(generator=generator).state_dict()["model.top.weight"])
            assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(states[0], states[1])
        assert not torch.equal(states[0], states[2])

    def test_all_but_the_heads_are_loaded(self) -> None:
        there = Network().state_dict()
        model = network(weights=lambda: {**there, "top.weight": torch.zeros(1000, 4)})
        assert torch.equal(model.state_dict()["model.body.0.weight"], there["body.0.weight"])
        assert not torch.equal(model.state_dict()["model.top.weight"], there["top.weight"])

    def test_nothing_is_read_where_a_model_has_no_weights(self) -> None:
        def download() -> dict[str, torch.Tensor]:
            raise AssertionError("it reads the weights")

        with torch.device("meta"):
            assert network(weights=download).get_submodule("model.top").weight.is_meta

    def test_weights_of_another_model(self) -> None:
        there = Network().state_dict()
        odd = {**there, "body.0.weight": torch.zeros(4, 6)}
        with pytest.raises(CheckpointError, match=r"body\.0\.weight is of another shape"):
            network(weights=lambda: odd)
        del there["body.2.bias"]
        with pytest.raises(CheckpointError, match=r"body\.2\.bias is missing in its weights"):
            network(weights=lambda: there)


@pytest.fixture
def vision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of a user's own with vision models, on the path; named anew each time."""
    name = f"vision_{abs(hash(str(tmp_path))):x}"
    (tmp_path / f"{name}.py").write_text(VISION)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def options(vision: str, model: str, *more: str) -> tuple[str, ...]:
    own = (f"model._target_={vision}.{model}", f"model.name={model}", f"allow_targets=[{vision}]")
    without = ("~model.widths", "~model.activation", "~model.dropout", "base=scratch", "limit=32")
    return (*own, *without, *more)


def trained(root: Path, vision: str, model: str, *more: str) -> RunResult:
    return run(tiny(root, *options(vision, model, *more)))


@pytest.mark.usefixtures("no_pictures")
class TestRuns:
    def test_a_resnet_is_told_what_it_is(self, vision: str, lab_root: Path) -> None:
        result = trained(lab_root, vision, "resnet", "adapter=head", "epochs=1")
        assert result.tags["frozen_prefix"] == "off: model=resnet gives no hidden states"

    @pytest.mark.parametrize(
        ("model", "strategy", "parameters"),
        [
            ("vit", ("adapter=lora", "adapter.targets=[mlp.0,mlp.3]"), 2 * 2 * 8 * (16 + 32)),
            ("resnet", ("adapter=last_layers", "epochs=1"), 230_144),
        ],
    )
    def test_a_run_is_evaluated_again(
        self,
        model: str,
        strategy: tuple[str, ...],
        parameters: int,
        vision: str,
        lab_root: Path,
        run_cli: Callable[..., Outcome],
    ) -> None:
        result = trained(lab_root, vision, model, *strategy)
        assert result.metrics["params/adapter"] == parameters
        saved = (f"run={result.folder}", "hardware=cpu", "hardware.threads=1")
        allowed = f"allow_targets=[{vision}]"
        outcome = run_cli(*saved, allowed, program=cli.evaluate, root=lab_root)
        assert "equal to the logged metrics" in outcome.out, outcome

    def test_lanes_of_a_frozen_resnet_share_its_norms(self, vision: str, lab_root: Path) -> None:
        def config(rank: int, *more: str) -> Any:
            lora = ("adapter=lora", "adapter.head=adapt", "adapter.targets=[fc]", "epochs=1")
            return tiny(lab_root, *options(vision, "resnet", *lora, f"adapter.rank={rank}", *more))

        why = "model=resnet gives no hidden states, so runs share nothing"
        packs = plan_packs([config(1), config(2)], [None, None], 8.0)
        assert all(why in pack.why for pack in packs)
        (pack,) = plan_packs([config(n, "pack=always") for n in (1, 2)], [None, None], 8.0)
        assert pack.jobs == (0, 1)


def test_what_a_model_says_is_asked_through_the_protocol_alone() -> None:
    package = Path(protocol.__file__).parents[1]
    asked = re.compile(rf"(get|has)attr\([^\n]*\"({'|'.join(Adaptable.__annotations__)})\"")
    assert asked.search('getattr(model, "is_chain", False)')
    elsewhere = [path for path in package.rglob("*.py") if path.parent.name != "models"]
    assert len(elsewhere) > 100
    assert not [path for path in elsewhere if asked.search(path.read_text())]


def test_memory_counts_what_convolutions_give() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.Flatten(), nn.Linear(6 * 64, 2))

    def estimate(side: int) -> PackMemory:
        with torch.device("meta"):
            model = wrapped(make, head="2", blocks=["0"], generator=None)
        return pack_memory(
            Head().apply(model), Load(8, 100, 100, 1, 2, 2, 4, False, 0, 1, shape=(1, side, side))
        )

    found = estimate(8)
    assert found.unknown == ""
    assert found.evaluating >= 100 * 4 * 6 * 64 * 2  # the outputs, flat and not
    assert estimate(9).unknown.startswith("its memory cannot be told (")
