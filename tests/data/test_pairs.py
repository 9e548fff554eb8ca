"""Pairs of texts: read from two columns, told apart by the model, and never run together."""

import itertools
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from adapterlab.base.errors import DataError
from adapterlab.data.pairs import joins
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.sources.text_files import text_files
from adapterlab.data.splits import TextSplit
from adapterlab.data.text import cut
from adapterlab.data.tokenizer import train_wordpiece
from adapterlab.data.tokens import TokenizedSplit, tokenize

PAIRS = (("a cat sleeps", "a dog"), ("it", "it is late in the day"), ("yes", "no"))
LABELS = torch.tensor([0, 1, 1])
SPLIT = TextSplit.of_pairs(PAIRS, LABELS)
ENCODER = train_wordpiece([text for pair in PAIRS for text in pair], 100)
ENCODER.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]


def decoder() -> PreTrainedTokenizerFast:
    """Return a tokenizer that puts nothing between two texts, as GPT-2's."""
    words = sorted({word for pair in PAIRS for text in pair for word in text.split()})
    vocabulary = {word: i for i, word in enumerate(["<unk>", *words])}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", pad_token="<unk>")


def rows(split: TokenizedSplit) -> list[list[int]]:
    ends = split.offsets.tolist()
    return [split.tokens[a:b].tolist() for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize("longest", [32, 7])
def test_tokens_and_types_are_the_tokenizers_own(longest: int) -> None:
    found = tokenize(SPLIT, ENCODER, longest, cache=None, name="", types=True)
    for row, (first, second) in enumerate(PAIRS):
        own = ENCODER(first, second, truncation=True, max_length=longest)
        assert rows(found)[row] == own["input_ids"]
        assert found.types is not None
        start, end = found.offsets[row : row + 2].tolist()
        assert found.types[start:end].tolist() == own["token_type_ids"]
    whole = sum(len(ENCODER(*pair)["input_ids"]) for pair in PAIRS)
    assert found.truncated_tokens == whole - len(found.tokens)
    assert found.truncated_texts == (2 if longest == 7 else 0)


def test_a_batch_has_the_types_and_padding_has_none() -> None:
    found = tokenize(SPLIT, ENCODER, 32, cache=None, name="", types=True)
    batch = cut(found, torch.tensor([1, 2]), 0)
    own = ENCODER([PAIRS[1][0], PAIRS[2][0]], [PAIRS[1][1], PAIRS[2][1]], padding=True)
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        assert batch.inputs[name].tolist() == own[name]
    head = found.head(2)
    assert head.types is not None
    assert len(head.types) == len(head.tokens) == int(found.offsets[2])


def test_a_model_without_types_is_given_none() -> None:
    found = tokenize(SPLIT, ENCODER, 32, cache=None, name="")
    assert found.types is None
    assert "token_type_ids" not in cut(found, torch.tensor([0]), 0).inputs


def test_a_tokenizer_without_a_separator_gets_a_line_for_each() -> None:
    tokenizer = decoder()
    assert not joins(tokenizer)
    assert joins(ENCODER)
    found = tokenize(SPLIT, tokenizer, 32, cache=None, name="", types=True)
    assert found.types is None
    assert rows(found)[0] == tokenizer("a cat sleeps\na dog")["input_ids"]
    # Without a line the two words would be one that is not known.
    assert rows(found)[2] == tokenizer("yes\nno")["input_ids"] != tokenizer("yesno")["input_ids"]


def test_pairs_and_single_texts_do_not_share_what_is_kept(tmp_path: Path) -> None:
    single = TextSplit(SPLIT.texts, LABELS)
    kept = [
        tokenize(split, ENCODER, 32, cache=tmp_path, name="x", types=types)
        for split, types in ((single, False), (SPLIT, False), (SPLIT, True), (SPLIT, True))
    ]
    assert rows(kept[0]) != rows(kept[1])
    assert rows(kept[1]) == rows(kept[2]) == rows(kept[3])
    assert kept[1].types is None
    assert kept[2].types is not None
    assert kept[3].types is not None
    assert torch.equal(kept[2].types, kept[3].types)


def test_where_the_parts_meet_is_part_of_the_data() -> None:
    class Taken:
        def __init__(self) -> None:
            self.parts: list[bytes] = []

        def update(self, data: bytes | memoryview, /) -> None:
            self.parts.append(bytes(data))

    digests = []
    for pairs in ((("a\nb", "c"),), (("a", "b\nc"),), (("a", "b"),), (("b", "a"),)):
        taken = Taken()
        TextSplit.of_pairs(pairs, torch.tensor([0])).update(taken)
        digests.append(b"".join(taken.parts))
    assert len(set(digests)) == 4


def write(folder: Path) -> Path:
    for split in ("train", "test"):
        lines = [f"{a}\t{b}\t{'yes' if i % 2 else 'no'}" for i, (a, b) in enumerate(PAIRS * 4)]
        (folder / f"{split}.tsv").write_text("\n".join(["premise\thypothesis\tlabel", *lines]))
    return folder


def test_two_columns_are_read_as_pairs(tmp_path: Path) -> None:
    context = LoadContext((tmp_path,), tmp_path, tmp_path)
    columns = ["premise", "hypothesis"]
    splits = text_files(context, write(tmp_path), columns, "label")
    assert splits.train.pairs[:3] == PAIRS
    assert splits.train.texts[0] == "a cat sleeps\na dog"
    assert splits.train.select(torch.tensor([2])).pairs == (PAIRS[2],)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["premise", "hypotheses"], "hypotheses"),
        (["premise", "premise"], "should be one column, or two of pairs"),
        (["premise", "hypothesis", "label"], "should be one column, or two of pairs"),
    ],
)
def test_columns_that_are_no_pair(columns: list[str], said: str, tmp_path: Path) -> None:
    context = LoadContext((tmp_path,), tmp_path, tmp_path)
    with pytest.raises(DataError, match=said):
        text_files(context, write(tmp_path), columns, "label")


def test_an_empty_second_text_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    with (tmp_path / "train.tsv").open("a") as file:
        file.write("\nfirst\t \tyes")
    context = LoadContext((tmp_path,), tmp_path, tmp_path)
    with pytest.raises(DataError, match="empty hypothesis in line 14"):
        text_files(context, tmp_path, ["premise", "hypothesis"], "label")
