"""K prompts before what one frozen encoder is given."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adapterlab.adapters.methods.prompt import PromptedEncoder, prompted
from adapterlab.models.forward_passes import SpeaksForBase
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneModule, base_of_lanes, own_trained


class LanePromptedEncoder(SpeaksForBase, LaneModule):
    """K prompts (see `PromptedEncoder`), of any lengths.

    Behind a text with a shorter one there is padding, so that its places are those that it has
    alone.

    Shapes: P ``[p_1 + ... + p_K, d]``.
    """

    joined = ("prompt",)
    over_lanes = True
    lengthens_rows = True
    prompt: Tensor

    def __init__(self, modules: Sequence[PromptedEncoder], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = base_of_lanes(modules, lanes)
        self.text_only, self.token_mask = modules[0].text_only, modules[0].token_mask

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        """Leave out the length."""
        return own_trained(module), module.prompt.shape[1], module.text_only

    @classmethod
    def drawn_over(cls, module: Any) -> tuple[object, ...]:
        """Return the length: a longer one has more to drop."""
        return (len(module.prompt),)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Any
    ) -> Any:
        """Return what the encoder returns for each lane's rows."""
        sizes = [shape[0] for shape in self.stacks["prompt"].shapes]
        return prompted(self, torch.split(self.prompt, sizes), input_ids, attention_mask, others)


COUNTERPARTS[PromptedEncoder] = LanePromptedEncoder
