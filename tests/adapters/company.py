"""A law of what is added to the texts of a model: neither padding nor company changes a text's."""

from collections.abc import Sequence

import torch
from transformer_cases import tokens

from adapterlab.adapters import AdaptedModel
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.packing.trial import try_out

CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def assert_the_same_in_company(models: Sequence[AdaptedModel], *, padding: int) -> None:
    """Compare logits of texts padded, alone, and in a pack that a lane has left.

    Args:
        models: three over one base, in evaluation and in float64.
        padding: tokens by which the first one's texts are made longer.
    """
    given = tokens(models[0])
    expected = [model(given) for model in models]
    torch.testing.assert_close(models[0](tokens(models[0], padding=padding)), expected[0], **CLOSE)
    alone = {name: tensor[-1:, :6] for name, tensor in given.items()}
    torch.testing.assert_close(models[0](alone), expected[0][-1:], **CLOSE)
    share_frozen(models)
    assert try_out(models, given, torch.arange(6) % 3) == [0, 1, 2]
    pack = PackedModel(models, [0, 0, 0]).eval()
    pack.keep([2, 0])
    logits = pack(given, rows=6, together=True)
    for lane, own in enumerate((2, 0)):
        torch.testing.assert_close(logits[lane], expected[own], **CLOSE)
