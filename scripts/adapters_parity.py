r"""Bottlenecks against those of the library `adapters`: logits and gradients in float64.

The library wants an older transformers than this program, so both are put beside it, into a folder
that goes before the environment's own packages:

    pip install --no-deps --target BESIDE 'adapters==1.3.0' 'transformers==4.57.6' \
        'tokenizers==0.22.2' 'huggingface-hub==0.36.2'
    PYTHONPATH=BESIDE:src python scripts/adapters_parity.py
"""

import copy
import importlib
import importlib.util
import re
import sys
from typing import Any

if importlib.util.find_spec("adapters") is None:
    sys.exit(f"the library adapters is not on the path\n\n{__doc__}")

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    PretrainedConfig,
    RobertaConfig,
)

from adapterlab.adapters import AdaptedModel, Bottleneck
from adapterlab.models.transformer import TransformerClassifier

VOCABULARY, WIDTH, CLASSES = 40, 32, 3
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 20,
    "num_labels": CLASSES,
}
SIZES_OF_DISTILBERT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "dim": WIDTH,
    "hidden_dim": 2 * WIDTH,
    "n_layers": 2,
    "n_heads": 4,
    "max_position_embeddings": 20,
    "num_labels": CLASSES,
}
CONFIGS: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES, type_vocab_size=1),
    "distilbert": DistilBertConfig(**SIZES_OF_DISTILBERT),
}
PLACEMENTS = ("houlsby", "pfeiffer", "parallel")
PARTS = {"adapter_down.0": "down", "adapter_up": "up"}


def main() -> None:
    """Compare every placement on every architecture, and print how far they are apart."""
    worst = 0.0
    for name, config in CONFIGS.items():
        for placement in PLACEMENTS:
            logits, gradients, count = apart(config, placement)
            worst = max(worst, logits, gradients)
            print(f"{name} {placement}: logits {logits:.1e}, gradients of {count} {gradients:.1e}")
    if not worst < 1e-12:
        sys.exit(f"they differ by {worst:.1e} of the largest number")


def apart(config: PretrainedConfig, placement: str) -> tuple[float, float, int]:
    """Return how far logits and gradients are apart, of the largest, and of how many tensors."""
    library: Any = importlib.import_module("adapters")
    torch.manual_seed(0)
    base: Any = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in base.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    base = base.double().eval()
    plain, theirs = copy.deepcopy(base), copy.deepcopy(base)
    library.init(theirs)
    made = {
        "houlsby": lambda: library.DoubleSeqBnConfig(reduction_factor=16),
        # By its name alone it reads what comes after the layer norm.
        "pfeiffer": lambda: library.SeqBnConfig(reduction_factor=16, original_ln_before=False),
        "parallel": lambda: library.ParBnConfig(reduction_factor=2),
    }
    theirs.add_adapter("own", config=made[placement]())
    theirs.train_adapter("own")
    theirs.set_active_adapters("own")
    theirs = theirs.double().eval()
    ours = Bottleneck(placement=placement).apply(TransformerClassifier(base)).eval()  # type: ignore[arg-type]
    pairs = counterparts(ours, theirs)
    with torch.no_grad():
        for own, their in pairs.values():
            own.add_(0.3 * torch.randn(own.shape, dtype=own.dtype))
            their.copy_(own)
    ids = torch.randint(5, VOCABULARY, (6, 8))
    mask = (torch.arange(8) < 8 - torch.arange(6)[:, None] // 2).long()
    inputs = {"input_ids": ids, "attention_mask": mask}
    both = ours(inputs), theirs(**inputs).logits
    if distance(plain(**inputs).logits, both[1]) < 1e-3:
        sys.exit("the library's bottlenecks do nothing, so that there is nothing to compare")
    weights = torch.tensor([1.0, -2.0, 0.5])
    for logits in both:
        (logits * weights).square().sum().backward()
    gradients = [(one.grad, other.grad) for one, other in pairs.values()]
    return distance(*both), max(distance(a, b) for a, b in gradients), len(pairs)


def counterparts(
    ours: AdaptedModel, theirs: nn.Module
) -> dict[str, tuple[nn.Parameter, nn.Parameter]]:
    """Return each parameter of a bottleneck here with that of the library."""
    own = {n: p for n, p in ours.trainable().items() if not ours.in_head(n)}
    found = {}
    for name, parameter in theirs.named_parameters():
        if ".own." not in name:
            continue
        place, part, kind = re.fullmatch(
            r"(.*)\.adapters\.own\.(adapter_down\.0|adapter_up)\.(weight|bias)", name
        ).groups()  # type: ignore[union-attr]
        ending = PARTS[part] + ("_bias" if kind == "bias" else "")
        candidates = [n for n in own if n.endswith(f".{ending}") and n not in found]
        found[at(place, candidates)] = parameter
    assert found.keys() == own.keys(), sorted(found.keys() ^ own.keys())
    return {name: (own[name], parameter) for name, parameter in found.items()}


def at(place: str, candidates: list[str]) -> str:
    """Return which of our parameters is at a place of the library's."""
    layer = re.search(r"layer\.\d+", place)[0]  # type: ignore[index]
    in_attention = "attention" in place
    (one,) = [
        name
        for name in candidates
        if f".{layer}." in name and (".attention." in name) == in_attention
    ]
    return one


def distance(a: Tensor | None, b: Tensor | None) -> float:
    """Return the largest difference, of the largest number."""
    assert a is not None
    assert b is not None
    return float((a - b).detach().abs().max() / b.detach().abs().max())


if __name__ == "__main__":
    main()
