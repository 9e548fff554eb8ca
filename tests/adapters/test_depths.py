"""How far below the head parameters are, of texts, images and models of a user's own."""

import pytest
import torch
from adapter_cases import build
from torch import nn
from transformer_cases import encoder

from adapterlab.adapters import Combined, Full, LoRA, Prompt
from adapterlab.adapters.depths import below_the_head
from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP
from adapterlab.models.wrapped import wrapped
from small_images import classifier

# What lies beside the two blocks, by its last name: at the head, and below the first block.
TEXTS = {
    "bert": ("pooler classifier", "embeddings"),
    "deberta": ("pooler classifier", "embeddings rel_embeddings"),
    "mpnet": ("classifier", "embeddings relative_attention_bias"),
    "opt": ("final_layer_norm score", "embed_tokens embed_positions"),
    "gpt2": ("ln_f score", "wte wpe"),
}
IMAGES = {
    "vit": ("layernorm classifier", "embeddings"),
    "resnet": ("classifier", "embedder"),
    "swin": ("layernorm classifier", "embeddings"),
}


def model_of(name: str) -> nn.Module:
    return encoder(name) if name in TEXTS else classifier(name)


@pytest.mark.parametrize("name", [*TEXTS, *IMAGES])
def test_blocks_count_from_the_head_and_embeddings_lie_below_them(name: str) -> None:
    adapted = Full().apply(model_of(name))
    blocks, places = adapted.model.blocks, (TEXTS | IMAGES)[name]
    found = below_the_head(adapted)
    assert found.keys() == adapted.trainable().keys()
    for parameter, below in found.items():
        if parameter.startswith(blocks):
            assert below == (2 if parameter.startswith(blocks[0]) else 1)
        else:
            (depth,) = [d for d, names in zip((0, 3), places, strict=True)
                        if set(names.split()) & set(parameter.split("."))]  # fmt: skip
            assert below == depth, parameter


def test_what_an_adapter_has_in_a_block_is_as_far_as_the_block() -> None:
    found = below_the_head(LoRA(rank=2).apply(encoder("bert")))
    assert {below for name, below in found.items() if ".layer.0." in name} == {2}
    assert {below for name, below in found.items() if ".layer.1." in name} == {1}
    assert {below for name, below in found.items() if "classifier" in name} == {0}


def test_a_prompt_is_as_far_as_embeddings_and_moves_nothing_else() -> None:
    parts = {"lora": LoRA(rank=2), "prompt": Prompt(num_virtual_tokens=2)}
    found = below_the_head(Combined(parts=parts).apply(encoder("bert")))
    alone = below_the_head(LoRA(rank=2).apply(encoder("bert")))
    assert found.pop("model.bert.prompt") == 3
    assert {name.replace("bert.base.", "bert."): below for name, below in found.items()} == alone


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3)
        self.one, self.norm = nn.Linear(2, 2), nn.LayerNorm(2)
        self.top = nn.Linear(2, 3)


def test_a_model_that_names_no_embeddings_has_its_stem_where_it_is_listed() -> None:
    model = wrapped(Net, head="top", blocks=["one"], generator=torch.Generator())
    found = below_the_head(Full().apply(model))
    ends = {name.split(".")[-2]: below for name, below in found.items()}
    assert ends == {"stem": 2, "one": 1, "norm": 0, "top": 0}


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"layer_decay: MLP names no blocks; 1 is allowed"):
        below_the_head(Full().apply(build(lambda: MLP((4,), 3, widths=()))))
