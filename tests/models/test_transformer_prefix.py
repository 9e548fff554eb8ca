"""Hidden states taken out of an encoder, and put back in the place of its first blocks."""

import copy
import pickle
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from adapterlab.base.errors import ConfigError
from adapterlab.models.transformer import TransformerClassifier
from small_texts import encoder, padded

EXACT = [
    "bert",
    "roberta",
    "distilbert",
    "electra",
    "mpnet",
    "modernbert",
    "modernbert-mean",
    "deberta",
]


def without_padding(hidden: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    """Put something else where nobody may look."""
    return hidden.masked_fill(inputs["attention_mask"][..., None] == 0, 7.0)


def calls(model: TransformerClassifier, inputs: dict[str, Any]) -> set[str]:
    """Return the modules that compute anything in a forward pass."""
    seen: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in model.named_modules():
            if not list(module.children()) and any(True for _ in module.parameters()):
                forward = type(module).forward

                def counted(
                    *args: Any, _n: str = name, _f: Any = forward, _m: Any = module, **k: Any
                ) -> Any:
                    seen[_n] += 1
                    return _f(_m, *args, **k)

                patch.setattr(module, "forward", counted)
        model(inputs)
    return set(seen)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("architecture", EXACT)
class TestExact:
    def test_logits_and_gradients_are_those_of_the_whole(
        self, architecture: str, depth: int
    ) -> None:
        model = encoder(architecture, dtype=torch.float64).eval()
        inputs = padded(model)
        hidden = model.hidden_states(inputs, depth).detach()
        assert hidden.shape == (*inputs["input_ids"].shape, 16)
        given = {**inputs, "hidden_states": without_padding(hidden, inputs), "depth": depth}
        whole, rest = model(inputs), model(given)
        assert torch.allclose(whole, rest, rtol=1e-12, atol=1e-13)
        # Weights that all blocks share (relative positions) are none of these.
        live = tuple(f"{module}." for module in (*model.blocks[depth:], *model.head_modules))
        after = [weight for name, weight in model.named_parameters() if name.startswith(live)]
        for one, other in zip(
            torch.autograd.grad(whole.square().sum(), after),
            torch.autograd.grad(rest.square().sum(), after),
            strict=True,
        ):
            assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)

    def test_a_row_has_the_hidden_states_it_has_alone(self, architecture: str, depth: int) -> None:
        model = encoder(architecture, dtype=torch.float64).eval()
        inputs = padded(model)
        hidden = model.hidden_states(inputs, depth)
        for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
            own = {name: value[row : row + 1, :length] for name, value in inputs.items()}
            alone = model.hidden_states(own, depth)[0]
            assert torch.allclose(hidden[row, :length], alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("architecture", "suffices"),
    [("bert", True), ("roberta", True), ("distilbert", True), ("modernbert-mean", False)],
)
def test_a_head_may_look_at_the_first_token_only(architecture: str, suffices: bool) -> None:
    model = encoder(architecture, dtype=torch.float64).eval()
    inputs = padded(model)
    hidden = model.hidden_states(inputs, 3)
    first = {name: value[:, :1] for name, value in {**inputs, "hidden_states": hidden}.items()}
    assert torch.allclose(model(inputs), model({**first, "depth": 3})) is suffices


@pytest.mark.parametrize("architecture", ["albert", "deberta-conv"])
def test_where_more_than_the_blocks_comes_between_the_logits_are_others(architecture: str) -> None:
    """ALBERT calls one block many times; a convolution looks back at the embeddings."""
    model = encoder(architecture, dtype=torch.float64).eval()
    inputs = padded(model)
    hidden = model.hidden_states(inputs, 1)
    logits = model({**inputs, "hidden_states": hidden, "depth": 1})
    assert not torch.allclose(model(inputs), logits, rtol=1e-3)


def test_hidden_states_in_another_order_of_axes_are_refused() -> None:
    model = encoder("xlnet").eval()
    with pytest.raises(ConfigError, match=r"XLNet.*layer\.1 should give one hidden state"):
        model.hidden_states(padded(model), 2)


@pytest.mark.parametrize("depth", [0, 4, -1])
def test_a_depth_that_does_not_exist_is_refused(depth: int) -> None:
    model = encoder().eval()
    inputs = padded(model)
    with pytest.raises(ConfigError, match=f"depth is {depth}; allowed: 1 to 3"):
        model.hidden_states(inputs, depth)
    hidden = torch.zeros(*inputs["input_ids"].shape, 16)
    with pytest.raises(ConfigError, match=f"depth is {depth}"):
        model({**inputs, "hidden_states": hidden, "depth": depth})


@pytest.mark.parametrize("architecture", ["bert", "mpnet"])
def test_nothing_before_the_given_states_is_computed(architecture: str) -> None:
    model = encoder(architecture).eval()
    inputs = padded(model)
    hidden = model.hidden_states(inputs, 2)
    before = (*model.embedding_modules, *model.blocks[:2])
    everything = calls(model, inputs)
    expected = {name for name in everything if not name.startswith(before)}
    assert len(expected) < len(everything) / 2
    assert calls(model, {**inputs, "hidden_states": hidden, "depth": 2}) == expected


def test_nothing_after_the_wanted_states_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = encoder().eval()

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError

    for name in ("model.bert.encoder.layer.2", "model.bert.pooler", "model.classifier"):
        monkeypatch.setattr(model.get_submodule(name), "forward", fail)
    model.hidden_states(padded(model), 2)


class TestTheModelIsLeftAsItWas:
    @staticmethod
    def given(model: TransformerClassifier) -> dict[str, Any]:
        inputs = padded(model)
        return {**inputs, "hidden_states": model.hidden_states(inputs, 2), "depth": 2}

    @staticmethod
    def hooks_and_forwards(model: TransformerClassifier) -> list[tuple[Any, ...]]:
        return [
            (name, list(module._forward_hooks), vars(module).get("forward"))
            for name, module in model.named_modules()
        ]

    def test_after_a_call(self) -> None:
        model = encoder().eval()
        inputs = padded(model)
        state, logits = self.hooks_and_forwards(model), model(inputs)
        model(self.given(model))
        assert self.hooks_and_forwards(model) == state
        assert torch.equal(model(inputs), logits)

    def test_when_it_raises(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = encoder().eval()
        given, state = self.given(model), self.hooks_and_forwards(model)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model.get_submodule("model.bert.pooler"), "forward", None)
            with pytest.raises(TypeError):
                model(given)
            patch.setattr(model.get_submodule("model.bert.encoder.layer.0"), "forward", None)
            with pytest.raises(TypeError):
                model.hidden_states(padded(model), 1)
        assert self.hooks_and_forwards(model) == state

    def test_a_forward_of_someone_elses_comes_back(self) -> None:
        model = encoder().eval()
        given, block = self.given(model), model.get_submodule(model.blocks[0])

        def theirs(*_: Any, **__: Any) -> None:
            raise AssertionError

        vars(block)["forward"] = theirs
        model(given)
        assert vars(block)["forward"] is theirs

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    def test_it_can_be_copied(self, copied: Any) -> None:
        model = encoder("mpnet").eval()
        given = self.given(model)
        logits = model(given)
        other = copied(model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        assert not other(given).any()
        assert torch.equal(model(given), logits)

    def test_parameters_keep_their_names(self) -> None:
        model = encoder()
        before = list(model.state_dict())
        model(self.given(model))
        assert list(model.state_dict()) == before


def test_blocks_that_give_tuples_are_found_out_by_a_model_that_never_gave_any() -> None:
    source = encoder("deberta").eval()
    inputs = padded(source)
    hidden = source.hidden_states(inputs, 1)
    fresh = encoder("deberta").eval()
    assert torch.equal(fresh({**inputs, "hidden_states": hidden, "depth": 1}), source(inputs))


def test_narrow_states_are_widened_where_nothing_autocasts() -> None:
    model = encoder().eval()
    inputs = padded(model)
    given = {**inputs, "hidden_states": model.hidden_states(inputs, 2).bfloat16(), "depth": 2}
    assert model(given).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert model(given).dtype == torch.bfloat16
