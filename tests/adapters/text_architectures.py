"""Small random text classifiers of the architectures that short names are known for."""

from collections.abc import Callable

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    AlbertConfig,
    DebertaConfig,
    DebertaV2Config,
    ElectraConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    ModernBertConfig,
    MPNetConfig,
    OPTConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    SqueezeBertConfig,
    XLMRobertaConfig,
)

VOCABULARY, WIDTH, LAYERS = 40, 32, 2
MARKS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
DECODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 20,
    **MARKS,
}
ENCODER = {**DECODER, "intermediate_size": 2 * WIDTH}
GATED = {**ENCODER, "num_key_value_heads": 2}
MARKED = {"cls_token_id": 1, "sep_token_id": 2}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}


def _dropping(dropout: float) -> dict[str, float]:
    return {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}


MORE: dict[str, Callable[[float], PretrainedConfig]] = {
    "deberta": lambda p: DebertaConfig(**ENCODER, **RELATIVE, **_dropping(p)),
    "deberta-v2": lambda p: DebertaV2Config(
        **ENCODER, **RELATIVE, position_buckets=8, norm_rel_ebd="layer_norm", **_dropping(p)
    ),
    "modernbert": lambda p: ModernBertConfig(**ENCODER, **MARKED, local_attention=8),
    "electra": lambda p: ElectraConfig(**ENCODER, embedding_size=16, **_dropping(p)),
    "albert": lambda p: AlbertConfig(
        **ENCODER, embedding_size=16, classifier_dropout_prob=p, **_dropping(p)
    ),
    "mpnet": lambda p: MPNetConfig(**ENCODER, **_dropping(p)),
    "xlm-roberta": lambda p: XLMRobertaConfig(**ENCODER, **_dropping(p)),
    "squeezebert": lambda p: SqueezeBertConfig(**ENCODER, embedding_size=WIDTH, **_dropping(p)),
    "gpt2": lambda p: GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=4,
        n_positions=20,
        resid_pdrop=p,
        embd_pdrop=p,
        attn_pdrop=p,
        **MARKS,
    ),
    "gpt-neox": lambda p: GPTNeoXConfig(**ENCODER, hidden_dropout=p, attention_dropout=p),
    "opt": lambda p: OPTConfig(**DECODER, ffn_dim=2 * WIDTH, word_embed_proj_dim=WIDTH, dropout=p),
    "llama": lambda p: LlamaConfig(**GATED),
    "qwen2": lambda p: Qwen2Config(**GATED),
    "qwen3": lambda p: Qwen3Config(**GATED, head_dim=8),
}
