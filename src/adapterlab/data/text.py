"""Cuts tokenised texts into batches of like length.

The tokens stay one ragged int32 tensor. A batch is cut from it by an index tensor and padded to
its own longest text; texts of like length share a batch, so that little of it is padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from adapterlab.base.errors import ConfigError
from adapterlab.base.seeding import stream
from adapterlab.data.batches import EVALUATED, SplitBatches, SplitName, rows_of_epoch
from adapterlab.data.tokens import TokenizedSplit

_GROUP = 50  # batches that are sorted together: fewer pad more, more shuffle less


class TextBatch(NamedTuple):
    """What a model sees, and where in the split it came from.

    Attributes:
        inputs: ``input_ids`` and ``attention_mask``, int64 ``[B, L]``, padded at the right; with
            features also ``hidden_states`` ``[B, L, H]``, 0 where padded, and their ``depth``.
        labels: int64 ``[B]``.
        rows: the batch's rows in the split, int64 ``[B]``.
    """

    inputs: dict[str, Any]
    labels: Tensor
    rows: Tensor


@dataclass(frozen=True)
class TokenFeatures:
    """What the first blocks of a model make of a split.

    Args:
        values: a row for each token, ``[T, H]`` in the split's order of tokens, or one for each
            text, ``[N, H]``, where a model looks at the first token only.
        depth: how many blocks they come out of.
        first_only: whether they are the first tokens'; batches are one token wide then.
        mixed: whether they were computed in half precision.
    """

    values: Tensor
    depth: int
    first_only: bool
    mixed: bool = False


class ShuffledByLength(Sampler[Tensor]):
    """Rows of one epoch's batches, random, but of like length; every row is in exactly one.

    The rows are shuffled and cut into groups of 50 batches; each group is sorted by length and cut
    into batches, and all batches are shuffled. Rows that do not fill a batch make a smaller one as
    they come, so that no length is favoured. The order is a function of ``(seed, epoch)`` alone.

    Args:
        lengths: number of tokens of each row, int64 ``[N]``.
        batch_size: rows per batch; one batch may have fewer.
        seed: the data-order seed.
        group: batches that are sorted together; 1 is an ordinary shuffle, which pads more.
        shares: see `rows_of_epoch`.
    """

    def __init__(
        self,
        lengths: Tensor,
        batch_size: int,
        seed: int,
        group: int = _GROUP,
        shares: Tensor | None = None,
    ) -> None:
        self.lengths, self.batch_size, self.seed, self.group = lengths, batch_size, seed, group
        self.shares = shares
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to be drawn next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        # A generator on purpose: Lightning makes the iterator before it sets the epoch.
        order = torch.Generator().manual_seed(stream(self.seed, "order", self.epoch))
        rows = rows_of_epoch(len(self.lengths), order, self.shares)
        full = len(rows) - len(rows) % self.batch_size
        step = self.group * self.batch_size
        for start in range(0, full, step):
            group = rows[start : min(start + step, full)]
            rows[start : start + len(group)] = group[self.lengths[group].argsort(stable=True)]
        batches = torch.split(rows, self.batch_size)
        for i in torch.randperm(len(batches), generator=order).tolist():
            yield batches[i]


class OrderedByLength(Sampler[Tensor]):
    """All rows, longest first, rows of one length in file order, ``batch_size`` at a time.

    Args:
        lengths: number of tokens of each row, int64 ``[N]``.
        batch_size: rows per batch; the last one may have fewer.
        by_length: False leaves all rows in file order, which pads more.
    """

    def __init__(self, lengths: Tensor, batch_size: int, by_length: bool = True) -> None:
        self.lengths, self.batch_size, self.by_length = lengths, batch_size, by_length

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        rows = torch.arange(len(self.lengths))
        if self.by_length:
            rows = self.lengths.argsort(descending=True, stable=True)
        yield from torch.split(rows, self.batch_size)


def cut(
    split: TokenizedSplit,
    rows: Tensor,
    pad_token_id: int,
    *,
    width: int | None = None,
    features: TokenFeatures | None = None,
) -> TextBatch:
    """The batch of these rows, int64 ``[B]``.

    Args:
        split: where they are cut from.
        rows: which, in this order.
        pad_token_id: what fills the batch up.
        width: tokens of the batch; None for those of its longest text.
        features: of the split, to come along.
    """
    starts = split.offsets[rows, None]
    lengths = split.offsets[rows + 1, None] - starts
    first_only = features is not None and features.first_only
    columns = torch.arange(1 if first_only else width or int(lengths.max()))
    real = columns < lengths
    places = (starts + columns).where(real, 0)
    inputs: dict[str, Any] = {
        "input_ids": split.tokens[places].where(real, pad_token_id).long(),
        "attention_mask": real.long(),
    }
    if split.types is not None:
        inputs["token_type_ids"] = split.types[places].where(real, 0).long()
    if features is not None:
        values = features.values[rows[:, None] if first_only else places]
        # What a model makes of padding is masked, but must be finite: 0 times NaN is NaN.
        inputs["hidden_states"] = values.masked_fill_(~real[..., None], 0)
        inputs["depth"] = features.depth
    return TextBatch(inputs, split.labels[rows], rows)


class _InMemory(Dataset[TextBatch]):
    """A split that is indexed by whole batches of rows."""

    def __init__(self, split: TokenizedSplit, **options: Any) -> None:
        self.split, self.options = split, options

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, rows: Tensor) -> TextBatch:
        return cut(self.split, rows, **self.options)


class TextBatches(SplitBatches[TokenizedSplit, TextBatch]):
    """Training, validation and test batches of a text data set.

    Training batches are shuffled anew each epoch; all others come in one fixed order, longest
    texts first, so that memory suffices to the end if it does at the start. ``batch.rows`` says
    which rows a batch holds: ``torch.cat(logits)[torch.cat(rows).argsort()]`` is in file order.

    Token types are of pairs only: for a single text they are 0, which is what models take them for.

    Args:
        pad_token_id: what fills a batch up; masked.
        length_bucketing: put texts of like length into a batch; without it, training batches are
            random rows and the others follow the file.
        pad_to_max: pad every batch to ``max_length``, for comparison and for compiled models.
        eval_batch_size: rows per batch in evaluation.
        arguments: see :class:`~adapterlab.data.batches.SplitBatches`.

    Raises:
        ConfigError: an argument outside its domain.
    """

    def __init__(
        self,
        *,
        pad_token_id: int,
        length_bucketing: bool = True,
        pad_to_max: bool = False,
        eval_batch_size: int = EVALUATED["text"],
        **arguments: Any,
    ) -> None:
        super().__init__(eval_batch_size=eval_batch_size, **arguments)
        self.pad_token_id = pad_token_id
        self.length_bucketing, self.pad_to_max = length_bucketing, pad_to_max

    def attach(self, split: SplitName, features: TokenFeatures) -> None:
        """Let the batches of a split carry features from now on.

        Raises:
            ConfigError: a split that does not exist, or features of other texts.
        """
        self._require(split)
        texts = self.splits[split]
        rows = len(texts if features.first_only else texts.tokens)
        if len(features.values) != rows:
            raise ConfigError(f"{split} has {rows} rows of features, not {len(features.values)}")
        self._features[split] = features

    def order(self, split: SplitName) -> Tensor:
        """The rows of a split as :meth:`batches` yields them, int64 ``[N]``."""
        self._require(split)
        return torch.cat(list(self._ordered(split)))

    def facts(self) -> dict[str, float]:
        """How much was cut off, ``truncated_texts/SPLIT``, and ``padding_share/train``."""
        facts = {
            f"{name}/{split}": float(getattr(texts, name))
            for split, texts in self.splits.items()
            for name in ("truncated_texts", "truncated_tokens")
        }
        return facts | {"padding_share/train": self.padding_share("train")}

    def notes(self) -> tuple[str, ...]:
        """What was cut off, a sentence for each split where something was."""
        cut = {split: texts.truncation() for split, texts in self.splits.items()}
        return tuple(f"{split}: {sentence}" for split, sentence in cut.items() if sentence)

    def padding_share(self, split: SplitName, epoch: int = 0) -> float:
        """Tokens with padding over tokens without it, summed over batches; 1 is no padding.

        Args:
            split: which one.
            epoch: of the training batches, counted from 0; the others are always the same.

        Raises:
            ConfigError: a split that does not exist.
        """
        self._require(split)
        lengths, width = self.splits[split].lengths, self._width(split)
        draws: Sampler[Tensor] = self._shuffled(epoch) if split == "train" else self._ordered(split)
        padded = sum(len(rows) * (width or int(lengths[rows].max())) for rows in draws)
        return padded / int(lengths.sum())

    def _shuffled(self, epoch: int) -> ShuffledByLength:
        lengths = self.splits["train"].lengths
        group = _GROUP if self.length_bucketing else 1
        draws = ShuffledByLength(lengths, self.batch_size, self.order_seed, group, self.shares)
        draws.set_epoch(epoch)
        return draws

    def _ordered(self, split: SplitName) -> OrderedByLength:
        lengths = self.splits[split].lengths
        return OrderedByLength(lengths, self.eval_batch_size, self.length_bucketing)

    def _width(self, split: SplitName) -> int | None:
        return self.splits[split].max_length if self.pad_to_max else None

    def _dataset(self, split: SplitName) -> _InMemory:
        return _InMemory(
            self.splits[split],
            pad_token_id=self.pad_token_id,
            width=self._width(split),
            features=self._features.get(split),
        )
