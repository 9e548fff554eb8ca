"""Pairs of texts, such as a premise and a hypothesis, as one sequence of tokens."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

from adapterlab.base.cache import Entry
from adapterlab.base.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_CHUNK = 512


def joins(tokenizer: "PreTrainedTokenizerFast") -> bool:
    """Say whether a tokenizer puts a token between the texts of a pair, as encoders' do."""
    alone = tokenizer.num_special_tokens_to_add(pair=False)
    return bool(tokenizer.num_special_tokens_to_add(pair=True) > alone)


def encode_pairs(
    pairs: Sequence[tuple[str, str]],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    *,
    types: bool,
) -> Entry:
    """Tokenise pairs; where they are too long, the longer text is cut off first.

    A tokenizer that puts nothing between two texts, as those of decoders, is given one text with a
    line for each: else the last word of one and the first of the other would be one.

    Args:
        pairs: of texts.
        tokenizer: of the model.
        max_length: the most tokens of a pair, special tokens included.
        types: keep the types that the tokenizer gives to tokens.

    Returns:
        ``tokens`` int32, ``offsets`` int64 and perhaps ``types`` int8, see `TokenizedSplit`.

    Raises:
        DataError: a pair of which no token is left, which is quoted.
    """
    # What the tokenizer does not give by itself, no pipeline over an exported model would either.
    types = types and joins(tokenizer) and "token_type_ids" in tokenizer.model_input_names
    ids: list[list[int]] = []
    kinds: list[list[int]] = []
    whole = truncated = 0
    for start in range(0, len(pairs), _CHUNK):
        some = pairs[start : start + _CHUNK]
        texts = (
            [[first for first, _ in some], [second for _, second in some]]
            if joins(tokenizer)
            else [["\n".join(pair) for pair in some]]
        )
        shared = {"return_attention_mask": False, "return_token_type_ids": types}
        kept = tokenizer(*texts, truncation=True, max_length=max_length, **shared)
        for pair, row in zip(some, kept["input_ids"], strict=True):
            if not row:
                text = "\n".join(pair)
                raise DataError(f"nothing of the text {text[:40]!r} is a token; remove the row")
        full = tokenizer(*texts, truncation=False, verbose=False, **shared)["input_ids"]
        ids += kept["input_ids"]
        kinds += kept["token_type_ids"] if types else []
        whole += sum(map(len, full))
        truncated += sum(len(a) > len(b) for a, b in zip(full, kept["input_ids"], strict=True))
    tensors = {
        "tokens": torch.from_numpy(np.fromiter(chain.from_iterable(ids), np.int32)),
        "offsets": torch.tensor([0, *map(len, ids)]).cumsum(0),
    }
    if types:
        tensors["types"] = torch.from_numpy(np.fromiter(chain.from_iterable(kinds), np.int8))
    lost = whole - len(tensors["tokens"])
    return Entry(tensors, {"truncated_texts": truncated, "truncated_tokens": lost})
