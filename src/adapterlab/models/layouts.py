"""Short names of the layers in a transformer's blocks, by the ways that blocks are laid out.

`query`, `key` and `value`, or `qkv` where one layer is all three; `out`, what follows attention;
`attention`, all of these; `ffn`, the feed-forward layers. They mean the same in every architecture.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from torch import nn

Layout = Mapping[str, tuple[str, ...]]


def _apart(attention: str, names: str, ffn: str, out: str | None = None) -> Layout:
    query, key, value, *last = (attention.format(name) for name in names.split())
    found = {"query": query, "key": key, "value": value, "out": out or last[0]}
    return {short: (name,) for short, name in found.items()} | {"ffn": tuple(ffn.split())}


def _joined(qkv: str, out: str, ffn: str) -> Layout:
    return {"qkv": (qkv,), "out": (out,), "ffn": tuple(ffn.split())}


_OUT, _FFN = "attention.output.dense", "intermediate.dense output.dense"

LAYOUTS: tuple[Layout, ...] = (
    # BERT, RoBERTa, XLM-R, ELECTRA, and the many that share their layer
    _apart("attention.self.{}", "query key value", _FFN, _OUT),
    # DistilBERT
    _apart("attention.{}_lin", "q k v out", "ffn.lin1 ffn.lin2"),
    # DeBERTa 2 and 3, DeBERTa
    _apart("attention.self.{}_proj", "query key value", _FFN, _OUT),
    _joined("attention.self.in_proj", _OUT, _FFN),
    # MPNet
    _apart("attention.attn.{}", "q k v o", _FFN),
    # ALBERT, whose layers share their weights
    _apart(
        "albert_layers.*.attention.{}",
        "query key value dense",
        "albert_layers.*.ffn albert_layers.*.ffn_output",
    ),
    # SqueezeBERT, of convolutions
    _apart(
        "attention.{}",
        "query key value",
        "intermediate.conv1d output.conv1d",
        "post_attention.conv1d",
    ),
    # ModernBERT
    _joined("attn.Wqkv", "attn.Wo", "mlp.Wi mlp.Wo"),
    # GPT-2
    _joined("attn.c_attn", "attn.c_proj", "mlp.c_fc mlp.c_proj"),
    # GPT-NeoX, Pythia
    _joined("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h mlp.dense_4h_to_h"),
    # OPT
    _apart("self_attn.{}_proj", "q k v out", "fc1 fc2"),
    # Llama, Mistral, Qwen, Gemma
    _apart("self_attn.{}_proj", "q k v o", "mlp.gate_proj mlp.up_proj mlp.down_proj"),
)
"""Names inside a block, the first layout that a model has all of counts."""

ATTENTION = ("query", "key", "value", "qkv", "out")


def target_aliases(model: nn.Module, blocks: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the names of layers by short name, for blocks laid out in a known way."""
    layers = {block: _layers(model.get_submodule(block)) for block in blocks}
    for layout in LAYOUTS:
        aliases = _by(layout, layers)
        if aliases is not None:
            parts = (aliases[part] for part in ATTENTION if part in aliases)
            return {**aliases, "attention": tuple(name for part in parts for name in part)}
    return {}


def _layers(block: nn.Module) -> list[str]:
    """Return the names of what has a matrix, or a kernel, in a block."""
    weights = {name: getattr(module, "weight", None) for name, module in block.named_modules()}
    return [n for n, w in weights.items() if isinstance(w, nn.Parameter) and w.ndim > 1]


def _by(layout: Layout, layers: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]] | None:
    """Return the names by short name; None if a block lacks a part of the layout."""
    found: dict[str, list[str]] = {short: [] for short in layout}
    for block, names in layers.items():
        for short, parts in layout.items():
            for part in parts:
                own = [name for name in names if fnmatchcase(name, part)]
                if not own:
                    return None
                found[short] += [f"{block}.{name}" for name in own]
    return {short: tuple(names) for short, names in found.items()} if layers else None
