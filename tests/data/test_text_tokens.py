import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.data.splits import TextSplit
from adapterlab.data.tokenizer import check_tokenizer, train_wordpiece
from adapterlab.data.tokens import TokenizedSplit, tokenize, tokenizer_hash

TEXTS = ["red green blue", "Green, green!", "red blue", "naïve café"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_wordpiece(TEXTS, 200)


def split(*texts: str) -> TextSplit:
    return TextSplit(texts, torch.zeros(len(texts), dtype=torch.int64))


def words(tokenized: TokenizedSplit, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    rows = zip(tokenized.offsets, tokenized.offsets[1:], strict=False)
    return [tokenizer.decode(tokenized.tokens[a:b]) for a, b in rows]


class TestTokenize:
    def test_rows_lie_one_after_the_other(
        self, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
    ) -> None:
        given = TextSplit(("red", "green blue red"), torch.tensor([1, 0]))
        tokenized = tokenize(given, tokenizer, 16, cache=tmp_path, name="colours")
        vocabulary = tokenizer.get_vocab()
        wanted = ["[CLS]", "red", "[SEP]", "[CLS]", "green", "blue", "red", "[SEP]"]
        assert tokenized.tokens.tolist() == [vocabulary[word] for word in wanted]
        assert tokenized.tokens.dtype == torch.int32
        assert tokenized.offsets.tolist() == [0, 3, 8]
        assert tokenized.lengths.tolist() == [3, 5]
        assert tokenized.labels.tolist() == [1, 0]
        assert tokenized.truncation() is None

    def test_what_is_cut_off_is_counted(
        self, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
    ) -> None:
        texts = split("red", "red green blue", "red green blue red green blue red red")
        tokenized = tokenize(texts, tokenizer, 5, cache=tmp_path, name="colours")
        assert words(tokenized, tokenizer) == [
            "[CLS] red [SEP]",
            "[CLS] red green blue [SEP]",
            "[CLS] red green blue [SEP]",
        ]
        # The third text has 10 tokens, of which 5 are left, all of them 3 + 5 + 10.
        assert (tokenized.truncated_texts, tokenized.truncated_tokens) == (1, 5)
        assert tokenized.truncation() == (
            "1 of 3 texts have more than 5 tokens: 5 of 18 tokens (27.8%) are cut off"
        )

    @settings(max_examples=25, deadline=None)
    @given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=9), most=st.integers(3, 12))
    def test_kept_and_cut_tokens_are_all_tokens(
        self,
        tokenizer: PreTrainedTokenizerFast,
        tmp_path_factory: pytest.TempPathFactory,
        lengths: list[int],
        most: int,
    ) -> None:
        texts = [" ".join(["red"] * n) for n in lengths]
        cache = tmp_path_factory.mktemp("cache")
        tokenized = tokenize(split(*texts), tokenizer, most, cache=cache, name="x")
        whole = [len(ids) for ids in tokenizer(texts)["input_ids"]]
        assert tokenized.lengths.tolist() == [min(n, most) for n in whole]
        assert tokenized.truncated_texts == sum(n > most for n in whole)
        assert len(tokenized.tokens) + tokenized.truncated_tokens == sum(whole)

    def test_more_texts_than_a_chunk_and_a_long_one(
        self, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
    ) -> None:
        texts = ["red"] * 600 + ["green " * 16_667] + ["\U0001f600 \u0645\u0631\u062d\u0628\u0627"]
        tokenized = tokenize(split(*texts), tokenizer, 64, cache=tmp_path, name="x")
        assert tokenized.lengths.tolist() == [3] * 600 + [64, 4]
        assert tokenized.truncated_texts == 1
        assert tokenized.truncated_tokens == 16_667 + 2 - 64
        unknown = tokenizer.unk_token_id
        assert tokenized.tokens[-4:].tolist() == [2, unknown, unknown, 3]

    def test_a_text_without_tokens(self, tmp_path: Path) -> None:
        backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
        backend.pre_tokenizer = pre_tokenizers.CharDelimiterSplit("-")
        bare = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[UNK]")
        with pytest.raises(DataError, match="nothing of the text '--' is a token"):
            tokenize(split("a", "--"), bare, 8, cache=tmp_path, name="x")
        assert not list(tmp_path.glob("*.safetensors"))


class TestCache:
    def calls(
        self, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
    ) -> list[Any]:
        seen: list[Any] = []
        original = type(tokenizer).__call__

        def spy(self: Any, *arguments: Any, **options: Any) -> Any:
            seen.append(arguments)
            return original(self, *arguments, **options)

        monkeypatch.setattr(type(tokenizer), "__call__", spy)
        return seen

    def test_the_second_time_nothing_is_tokenised(
        self,
        tokenizer: PreTrainedTokenizerFast,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen = self.calls(tokenizer, monkeypatch)
        texts = split("red green blue red", "blue")
        first = tokenize(texts, tokenizer, 4, cache=tmp_path, name="colours")
        assert len(seen) == 1
        other_labels = TextSplit(texts.texts, torch.tensor([1, 1]))
        second = tokenize(other_labels, tokenizer, 4, cache=tmp_path, name="colours")
        assert len(seen) == 1
        assert torch.equal(first.tokens, second.tokens)
        assert torch.equal(first.offsets, second.offsets)
        assert first.truncation() == second.truncation()
        assert second.labels.tolist() == [1, 1]
        assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".lock", ".safetensors"]
        assert all(path.name.startswith("colours-tokens-") for path in tmp_path.iterdir())

    def test_whatever_changes_tokens_changes_the_entry(
        self, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
    ) -> None:
        left = train_wordpiece(TEXTS, 200)
        left.truncation_side = "left"
        for texts, other, length in (
            (("ab", "c"), tokenizer, 8),
            (("a", "bc"), tokenizer, 8),
            (("ab", "c"), tokenizer, 9),
            (("ab", "c"), train_wordpiece([*TEXTS, "ab"], 200), 8),
            (("ab", "c"), left, 8),
        ):
            tokenize(split(*texts), other, length, cache=tmp_path, name="x")
        assert len(list(tmp_path.glob("*.safetensors"))) == 5

    def test_the_digest_ignores_what_a_call_leaves_behind(
        self, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        before = tokenizer_hash(tokenizer)
        tokenizer(["red"], truncation=True, max_length=3, padding="max_length")
        assert tokenizer_hash(tokenizer) == before

    @pytest.mark.parametrize("damage", [b"", b"nonsense", None])
    def test_a_damaged_entry_is_made_again(
        self,
        tokenizer: PreTrainedTokenizerFast,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        damage: bytes | None,
    ) -> None:
        expected = tokenize(split("red green"), tokenizer, 8, cache=tmp_path, name="x").tokens
        (path,) = tmp_path.glob("*.safetensors")
        content = path.read_bytes()
        path.unlink()
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes(flipped if damage is None else damage)
        for _ in range(2):  # the second time there is nothing to warn of
            again = tokenize(split("red green"), tokenizer, 8, cache=tmp_path, name="x")
            assert torch.equal(again.tokens, expected)
            assert [record.levelname for record in caplog.records] == ["WARNING"]


class TestWordPiece:
    def test_the_vocabulary(self) -> None:
        tokenizer = train_wordpiece(["ba ba AB, ab ab c", "ba ba"], 60)
        vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
        assert vocabulary == [
            *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
            *(",", "a", "b", "c"),
            *("##,", "##a", "##b", "##c"),
            *("ba", "ab"),  # 4 and 3 times
        ]

    def test_words_then_characters_then_unknown(self) -> None:
        tokenizer = train_wordpiece(["Red green"], 100)
        ids = tokenizer("RED  dreé! greenz")["input_ids"]
        wanted = ["[CLS]", "red", "d", "##r", "##e", "##e", "[UNK]", "[UNK]", "[SEP]"]
        assert tokenizer.convert_ids_to_tokens(ids) == wanted

    def test_too_many_characters_leave_room_for_words(self) -> None:
        rare = [chr(0x4E00 + i) for i in range(500)]
        tokenizer = train_wordpiece([*rare, "common " * 5], 205)
        vocabulary = tokenizer.get_vocab()
        assert len(vocabulary) == 205
        assert "common" in vocabulary
        assert sum(piece.startswith("##") for piece in vocabulary) == 50

    def test_every_process_learns_the_same(self) -> None:
        program = (
            "from adapterlab.data.tokenizer import train_wordpiece\n"
            "from adapterlab.data.tokens import tokenizer_hash\n"
            "texts = [chr(97 + i % 26) + chr(97 + i % 17) for i in range(500)]\n"
            "print(tokenizer_hash(train_wordpiece(texts, 150)))"
        )
        texts = [chr(97 + i % 26) + chr(97 + i % 17) for i in range(500)]
        command = [sys.executable, "-c", program]
        there = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert there.strip() == tokenizer_hash(train_wordpiece(texts, 150))

    def test_no_room(self) -> None:
        with pytest.raises(ConfigError, match="vocab_size is 49; allowed: 50 or more"):
            train_wordpiece(TEXTS, 49)


class TestCheck:
    def check(self, tokenizer: Any, **changes: Any) -> None:
        options: dict[str, Any] = {"model": "tiny", "embeddings": 500, "max_length": 16}
        check_tokenizer(tokenizer, **(options | changes))

    def test_one_that_fits(self, tokenizer: PreTrainedTokenizerFast) -> None:
        highest = max(tokenizer.get_vocab().values())
        self.check(tokenizer, embeddings=highest + 1, max_length=3, positions=3)

    def test_ids_that_the_model_does_not_know(self, tokenizer: PreTrainedTokenizerFast) -> None:
        highest = max(tokenizer.get_vocab().values())
        message = rf"ids up to {highest} but tiny knows {highest} \(0 to {highest - 1}\); take the"
        with pytest.raises(ConfigError, match=message):
            self.check(tokenizer, embeddings=highest)

    @pytest.mark.parametrize(
        ("length", "positions", "message"),
        [
            (2, None, "max_length is 2 for tiny; allowed: 3 or more"),
            (2, 512, "max_length is 2 for tiny; allowed: 3 to 512"),
            (513, 512, "max_length is 513 for tiny; allowed: 3 to 512"),
        ],
    )
    def test_lengths(
        self,
        tokenizer: PreTrainedTokenizerFast,
        length: int,
        positions: int | None,
        message: str,
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            self.check(tokenizer, max_length=length, positions=positions)

    def test_no_padding_token(self) -> None:
        bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")))
        with pytest.raises(ConfigError, match="has no padding token"):
            self.check(bare)

    def test_token_types(self) -> None:
        backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
        backend.post_processor = TemplateProcessing(
            single="$A:1 [UNK]:2", special_tokens=[("[UNK]", 0)]
        )
        typed = PreTrainedTokenizerFast(
            tokenizer_object=backend,
            pad_token="[UNK]",
            model_input_names=["input_ids", "token_type_ids"],
        )
        with pytest.raises(ConfigError, match="marks tokens with types other than 0"):
            self.check(typed)
