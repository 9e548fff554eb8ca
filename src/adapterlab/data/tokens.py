"""Turns texts into tokens, once per text, tokenizer and length, and says what was cut off."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from adapterlab.base.cache import Entry, spread, stored
from adapterlab.base.errors import DataError
from adapterlab.data.pairs import encode_pairs
from adapterlab.data.splits import TextSplit, update_with_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_CHUNK = 512
_COMPARED = 64  # texts that are tokenised once more before tokens of others are taken
_FORMAT = 2  # raise it whenever tokenising changes, so that older entries are left alone


@dataclass(frozen=True)
class TokenizedSplit:
    """The tokens of all texts of a split, one after the other, without padding.

    Args:
        tokens: int32 ``[T]``, the texts' token ids with the tokenizer's special tokens; those of
            row i are ``tokens[offsets[i]:offsets[i + 1]]``.
        offsets: int64 ``[N + 1]``.
        labels: int64 ``[N]``, class indices from 0.
        max_length: the most tokens that a text may have.
        truncated_texts: how many texts were longer.
        truncated_tokens: how many tokens they lost.
        types: int8 ``[T]``, 1 for tokens of the second text of a pair, where the model is told.
    """

    tokens: Tensor
    offsets: Tensor
    labels: Tensor
    max_length: int
    truncated_texts: int
    truncated_tokens: int
    types: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, rows: int) -> "TokenizedSplit":
        """The first rows."""
        offsets = self.offsets[: rows + 1]
        end = int(offsets[-1])
        return replace(
            self,
            tokens=self.tokens[:end],
            offsets=offsets,
            labels=self.labels[:rows],
            types=None if self.types is None else self.types[:end],
        )

    @property
    def lengths(self) -> Tensor:
        """The number of tokens of each row, int64 ``[N]``."""
        return self.offsets.diff()

    def truncation(self) -> str | None:
        """What was cut off, in words; None if nothing was."""
        if not self.truncated_texts:
            return None
        whole = len(self.tokens) + self.truncated_tokens
        return (
            f"{self.truncated_texts:,} of {len(self):,} texts have more than {self.max_length} "
            f"tokens: {self.truncated_tokens:,} of {whole:,} tokens "
            f"({self.truncated_tokens / whole:.1%}) are cut off"
        )


def tokenize(
    split: TextSplit,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    *,
    cache: Path | None,
    name: str,
    types: bool = False,
) -> TokenizedSplit:
    """Tokenise a split, or read its tokens from the cache.

    Entries are found by the texts themselves, all that the tokenizer does, and the length, so that
    no file name, path or class name has a say.

    Args:
        split: the texts.
        tokenizer: a fast tokenizer of `transformers`; see
            :func:`~adapterlab.data.tokenizer.check_tokenizer`.
        max_length: the most tokens a text may have, special tokens included; the rest is cut off
            at the side where the tokenizer truncates.
        cache: the cache folder; None keeps nothing.
        name: begins the name of the cache file, and is what the progress bar shows; nothing is
            shown where it is empty.
        types: whether the model takes types of tokens, which pairs have.

    Raises:
        DataError: a text of which no token is left, which is quoted.
    """

    def encode(split: TextSplit, name: str) -> Entry:
        if split.pairs:
            return encode_pairs(split.pairs, tokenizer, max_length, types=types)
        return _encode(split.texts, tokenizer, max_length, name)

    def build() -> Entry:
        return encode(split, name)

    def require(entry: Entry) -> None:
        rows = spread(len(split), _COMPARED)
        known = max(tokenizer.get_vocab().values()) + 1
        limits = {"texts": len(split), "lengths": max_length, "tokens": known, "types": 2}
        _require_same(entry, rows, encode(split.select(rows), ""), limits)

    if cache is None:
        return _split_of(split, max_length, build())
    key = [
        "tokens",
        _FORMAT,
        _texts_hash(split.parts),
        tokenizer_hash(tokenizer),
        tokenizers.__version__,
        max_length,
        *(("pairs", types) if split.pairs else ()),
    ]
    entry = stored(cache, f"{name}-tokens", key, build, require=require)
    return _split_of(split, max_length, entry)


def _split_of(split: TextSplit, max_length: int, entry: Entry) -> TokenizedSplit:
    return TokenizedSplit(
        tokens=entry.tensors["tokens"],
        offsets=entry.tensors["offsets"],
        labels=split.labels,
        max_length=max_length,
        truncated_texts=entry.facts["truncated_texts"],
        truncated_tokens=entry.facts["truncated_tokens"],
        types=entry.tensors.get("types"),
    )


def _require_same(entry: Entry, rows: Tensor, own: Entry, limits: Mapping[str, int]) -> None:
    """Refuse tokens of others that are not those of a split's texts, as far as some of them tell.

    Args:
        entry: of others.
        rows: some of the texts' places, int64 ``[M]``.
        own: the tokens of the texts there.
        limits: how many ``texts`` there are, how many tokens one may have (``lengths``), and how
            many ``tokens`` and ``types`` there are to choose from.

    Raises:
        DataError: they are other tokens.
    """
    cut = [entry.facts["truncated_texts"], entry.facts["truncated_tokens"]]
    if not all(type(count) is int and count >= 0 for count in cut):
        raise DataError(f"it counts {cut} of texts and tokens that were cut off")
    kinds = {name: (tensor.dtype, tensor.ndim) for name, tensor in entry.tensors.items()}
    if kinds != {name: (tensor.dtype, tensor.ndim) for name, tensor in own.tensors.items()}:
        raise DataError("it has other tensors")
    offsets, count = entry.tensors["offsets"], len(entry.tensors["tokens"])
    if len(offsets) != limits["texts"] + 1 or (int(offsets[0]), int(offsets[-1])) != (0, count):
        raise DataError("it has tokens of other texts")
    lengths = offsets.diff()
    given = {name: tensor for name, tensor in entry.tensors.items() if name != "offsets"}
    within = {"lengths": (lengths, 1, limits["lengths"])}
    within |= {name: (tensor, 0, limits[name] - 1) for name, tensor in given.items()}
    for name, (tensor, least, most) in within.items():
        if len(tensor) != (limits["texts"] if name == "lengths" else count):
            raise DataError(f"it has {len(tensor)} {name}")
        if not least <= int(tensor.min()) <= int(tensor.max()) <= most:
            raise DataError(f"it has {name} from {int(tensor.min())} to {int(tensor.max())}")
    places = torch.cat([torch.arange(int(offsets[row]), int(offsets[row + 1])) for row in rows])
    same = torch.equal(lengths[rows], own.tensors["offsets"].diff())
    if not same or any(not torch.equal(t[places], own.tensors[n]) for n, t in given.items()):
        raise DataError("it has other tokens for some of these texts")


def tokenizer_hash(tokenizer: "PreTrainedTokenizerFast") -> str:
    """A digest of all that decides which tokens a text becomes."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    # Every call sets these two anew; what counts of them is the side.
    for transient in ("truncation", "padding"):
        state.pop(transient, None)
    state |= {"side": tokenizer.truncation_side}
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _texts_hash(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    update_with_texts(digest, texts)
    return digest.hexdigest()


def _encode(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerFast", max_length: int, name: str
) -> Entry:
    special = tokenizer.num_special_tokens_to_add()
    tokens: list[np.ndarray[Any, Any]] = []
    lengths: list[int] = []
    truncated: set[int] = set()
    cut = 0
    for start in track(
        range(0, len(texts), _CHUNK),
        description=f"tokenising {name}",
        console=Console(stderr=True),
        transient=True,
        disable=not (name and sys.stderr.isatty()),
    ):
        # What is cut off comes as further pieces, each with the special tokens around it.
        pieces = tokenizer(
            list(texts[start : start + _CHUNK]),
            truncation=True,
            max_length=max_length,
            return_overflowing_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        before = -1
        kept = []
        for row, ids in zip(pieces["overflow_to_sample_mapping"], pieces["input_ids"], strict=True):
            if row == before:
                truncated.add(start + row)
                cut += len(ids) - special
                continue
            if not ids:
                text = texts[start + row]
                raise DataError(f"nothing of the text {text[:40]!r} is a token; remove the row")
            kept.append(ids)
            before = row
        lengths.extend(map(len, kept))
        tokens.append(np.fromiter(chain.from_iterable(kept), np.int32))
    return Entry(
        tensors={
            "tokens": torch.from_numpy(np.concatenate(tokens)),
            "offsets": torch.tensor([0, *lengths]).cumsum(0),
        },
        facts={"truncated_texts": len(truncated), "truncated_tokens": cut},
    )
