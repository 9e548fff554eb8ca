"""A WordPiece tokenizer made from a data set's own texts, and whether a tokenizer fits a model."""

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import PreTrainedTokenizerFast

from adapterlab.base.errors import ConfigError

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_wordpiece(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer like BERT's, whose vocabulary comes from ``texts``.

    The vocabulary is BERT's special tokens; the texts' most frequent characters, each as the start
    and as the continuation of a word; and then the most frequent words. Equal texts give equal
    tokenizers. Those of `tokenizers`' own trainer, which also finds parts of words by merging
    pairs, differ from process to process.

    WordPiece: Schuster and Nakajima, Japanese and Korean Voice Search, ICASSP 2012.

    Args:
        texts: what to learn from, the training split.
        vocab_size: size of the vocabulary; smaller if the texts have no more words.

    Raises:
        ConfigError: no room for special tokens and characters.
    """
    if vocab_size < (least := 10 * len(_SPECIAL)):
        raise ConfigError(f"vocab_size is {vocab_size}; allowed: {least} or more")
    normalizer, splitter = BertNormalizer(lowercase=True), BertPreTokenizer()
    words: Counter[str] = Counter()
    # Most of the time goes into splitting, so what recurs between spaces is split once.
    for run, count in Counter(run for text in texts for run in text.split()).items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(run)):
            words[word] += count
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    room = (vocab_size - len(_SPECIAL)) // 4  # half of what is left, as each comes twice
    alphabet = sorted(_most_frequent(characters)[:room])
    pieces = [*_SPECIAL, *alphabet, *(f"##{character}" for character in alphabet)]
    pieces = list(dict.fromkeys([*pieces, *_most_frequent(words)]))[:vocab_size]

    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizer, splitter
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _most_frequent(counts: Counter[str]) -> list[str]:
    """All of them, by falling count and then by code point."""
    return sorted(counts, key=lambda key: (-counts[key], key))


def check_tokenizer(
    tokenizer: PreTrainedTokenizerFast,
    *,
    model: str,
    embeddings: int,
    max_length: int,
    positions: int | None = None,
) -> None:
    """Find out before any text is read whether a model can take what a tokenizer gives.

    Args:
        tokenizer: a fast tokenizer of `transformers`.
        model: what to call the model.
        embeddings: how many token ids the model knows.
        max_length: the most tokens of a text, special tokens included.
        positions: the longest input of the model, if there is one; for RoBERTa it is
            ``max_position_embeddings - 2``.

    Raises:
        ConfigError: it has no fast implementation or padding token, gives ids that the model does
            not know or token types other than 0, or the length is too small or too large.
    """
    name = tokenizer.name_or_path or type(tokenizer).__name__
    if not tokenizer.is_fast:
        raise ConfigError(f"tokenizer {name} has no fast implementation; choose one that has")
    if tokenizer.pad_token_id is None:
        known = ", ".join(map(repr, tokenizer.all_special_tokens))
        token = tokenizer.eos_token or tokenizer.unk_token or "TOKEN"
        raise ConfigError(
            f"tokenizer {name} has no padding token; name one of its tokens, which is then masked "
            f"where it pads: \"model.pad_token='{token}'\" (its special tokens: {known or 'none'})"
        )
    highest = max(tokenizer.get_vocab().values())
    if highest >= embeddings:
        raise ConfigError(
            f"tokenizer {name} has token ids up to {highest} but {model} knows {embeddings} "
            f"(0 to {embeddings - 1}); take the tokenizer that belongs to the model"
        )
    least = tokenizer.num_special_tokens_to_add() + 1
    if not least <= max_length <= (positions or max_length):
        options = f"{least} or more" if positions is None else f"{least} to {positions}"
        raise ConfigError(f"max_length is {max_length} for {model}; allowed: {options}")
    if any(tokenizer("a").get("token_type_ids", ())):
        raise ConfigError(
            f"tokenizer {name} marks tokens with types other than 0, which is not supported"
        )
