"""Tokens and features that others have made: taken where they are those of these texts."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import PreTrainedTokenizerFast

from adapterlab.adapters import LastLayers
from adapterlab.base import cache
from adapterlab.base.errors import DataError
from adapterlab.base.shared_cache import shared_with
from adapterlab.data.splits import TextSplit
from adapterlab.data.tokenizer import train_wordpiece
from adapterlab.data.tokens import TokenizedSplit, tokenize
from small_texts import data, encoder, prefix

Tensors = dict[str, Tensor]


class Memory:
    """Others that have what they were given, as it may have been changed since."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.change: Callable[[Tensors], None] | None = None
        self.refused: list[str] = []

    def bring(self, path: Path, require: Callable[[Path], None]) -> bool:
        if path.name not in self.kept:
            return False
        found = path.with_name("found")
        found.write_bytes(self.kept[path.name])
        if self.change is not None:
            forge(found, self.change)
        try:
            require(found)
        except DataError as error:
            self.refused.append(str(error))
            return False
        found.replace(path)
        return True

    def give(self, path: Path) -> None:
        self.kept[path.name] = path.read_bytes()


def forge(file: Path, change: Callable[[Tensors], None]) -> None:
    """Change the tensors of a cache file and its own checksums, as who knows the format can."""
    entry, metadata = cache._read(file)
    values = {name: tensor.clone() for name, tensor in entry.tensors.items()}
    change(values)
    checksums = {name: cache._checksum(tensor) for name, tensor in values.items()}
    save_file(values, file, metadata | {"checksums": json.dumps(checksums)})


@pytest.fixture
def others() -> Iterator[Memory]:
    memory = Memory()
    with shared_with(memory):
        yield memory


TEXTS = tuple(
    f"the {adjective} book of day {i}" for i in range(60) for adjective in ("good", "bad")
)
SPLIT = TextSplit(TEXTS, torch.arange(len(TEXTS)) % 2)
PAIRS = TextSplit.of_pairs([(text, "is it so") for text in TEXTS], SPLIT.labels)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    made = train_wordpiece(TEXTS, 96)
    made.model_input_names = [*made.model_input_names, "token_type_ids"]
    return made


def tokenized(
    folder: Path, tokenizer: PreTrainedTokenizerFast, split: TextSplit = SPLIT
) -> TokenizedSplit:
    return tokenize(split, tokenizer, 12, cache=folder, name="", types=True)


def equal(one: TokenizedSplit, other: TokenizedSplit) -> bool:
    named = ("tokens", "offsets", "types")
    pairs = [(getattr(one, name), getattr(other, name)) for name in named]
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("split", [SPLIT, PAIRS], ids=["texts", "pairs"])
def test_tokens_are_taken(
    split: TextSplit, others: Memory, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    first = tokenized(tmp_path / "a", tokenizer, split)
    (kept,) = others.kept.values()
    second = tokenized(tmp_path / "b", tokenizer, split)
    assert others.refused == []
    assert equal(first, second)
    (file,) = (tmp_path / "b").glob("*.safetensors")
    assert file.read_bytes() == kept


def rolled(values: Tensors) -> None:
    values["tokens"] = values["tokens"].roll(1)


def unknown(values: Tensors) -> None:
    values["tokens"][int(values["offsets"][1]) + 2] = 2**31 - 1  # in a text that is not compared


def negative(values: Tensors) -> None:
    values["tokens"][int(values["offsets"][1]) + 2] = -1


def moved(values: Tensors) -> None:
    values["offsets"][1:-1] += 1


def backwards(values: Tensors) -> None:
    values["offsets"][5] = -3


def too_long(values: Tensors) -> None:
    values["offsets"][1:60] = values["offsets"][60]


def fewer(values: Tensors) -> None:
    values["offsets"] = torch.cat([values["offsets"][:1], values["offsets"][2:]])


def of_floats(values: Tensors) -> None:
    values["tokens"] = values["tokens"].float()


def flat(values: Tensors) -> None:
    values["tokens"] = values["tokens"][None]


def with_more(values: Tensors) -> None:
    values["more"] = torch.zeros(3)


def without(values: Tensors) -> None:
    del values["offsets"]


def other_types(values: Tensors) -> None:
    values["types"][:] = 2


WRONG = (
    *(rolled, unknown, negative, moved, backwards, too_long, fewer),
    *(of_floats, flat, with_more, without, other_types),
)


@pytest.mark.parametrize("change", WRONG)
def test_other_tokens_are_not(
    change: Callable[[Tensors], None],
    others: Memory,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    split = PAIRS if change is other_types else SPLIT
    first = tokenized(tmp_path / "a", tokenizer, split)
    others.change = change
    second = tokenized(tmp_path / "b", tokenizer, split)
    assert len(others.refused) == 1
    assert equal(first, second)


def damaged(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


def pickled(content: bytes) -> bytes:
    return pickle.dumps(Trap())


class Trap:
    """Ends the tests when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.abort, ())


@pytest.mark.parametrize(
    "harm", [damaged, pickled, lambda content: content[:40], lambda content: b""]
)
def test_nor_are_tokens_of_a_broken_file(
    harm: Callable[[bytes], bytes],
    others: Memory,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    first = tokenized(tmp_path / "a", tokenizer)
    others.kept = {name: harm(content) for name, content in others.kept.items()}
    second = tokenized(tmp_path / "b", tokenizer)
    assert len(others.refused) == 1
    assert equal(first, second)


def test_nor_are_those_of_another_entry(
    others: Memory, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokenized(tmp_path / "a", tokenizer)
    tokenized(tmp_path / "a", tokenizer, SPLIT.select(torch.arange(50)))
    one, other = others.kept
    others.kept[one] = others.kept[other]
    tokenized(tmp_path / "b", tokenizer)
    assert others.refused == ["it is another entry's"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_features_are_taken(
    precision: str, others: Memory, filled: list[str], tmp_path: Path
) -> None:
    for root, size in (("a", 7), ("b", 3)):
        adapted = LastLayers(n=1).apply(encoder())
        result = prefix(
            adapted, data(encoder()), tmp_path / root, precision=precision, batch_size=size
        )
        assert result.found == (root == "b")
    assert filled == ["train", "validation"]
    assert others.refused == []


def zero(values: Tensors) -> None:
    values["values"].zero_()


def no_numbers(values: Tensors) -> None:
    values["values"].fill_(float("nan"))


def slightly_others(values: Tensors) -> None:
    values["values"] *= 1.01


def narrower(values: Tensors) -> None:
    values["values"] = values["values"][:, 1:].contiguous()


def exact(values: Tensors) -> None:
    values["values"] = values["values"].double()


def unnamed(values: Tensors) -> None:
    values["others"] = values.pop("values")


@pytest.mark.parametrize("change", [zero, no_numbers, slightly_others, narrower, exact, unnamed])
def test_other_features_are_not(
    change: Callable[[Tensors], None], others: Memory, filled: list[str], tmp_path: Path
) -> None:
    first, second = data(encoder()), data(encoder())
    prefix(LastLayers(n=1).apply(encoder()), first, tmp_path / "a")
    others.change = change
    result = prefix(LastLayers(n=1).apply(encoder()), second, tmp_path / "b")
    assert not result.found
    assert filled == ["train", "validation"] * 2
    assert len(others.refused) == 2
    for one, other in zip(first.batches("train"), second.batches("train"), strict=True):
        assert torch.equal(one.inputs["hidden_states"], other.inputs["hidden_states"])
