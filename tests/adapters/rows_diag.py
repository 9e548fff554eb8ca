"""Rows of methods that scale, rotate or mask what is there, and of controls."""

from rows import Row
from torch import nn

from adapterlab.adapters import IA3
from adapterlab.adapters.weights import is_linear, sizes, weight_layers
from adapterlab.models.protocol import adaptable


def _ia3(base: nn.Module, head: bool) -> int:
    """Count l: of the outputs of all linear layers, or of the paper's in a transformer."""
    aliases = adaptable(base).target_aliases
    layers = {n: m for n, m in weight_layers(base, head=head).items() if is_linear(m)}
    if not aliases or head:
        return sum(sizes(layer)[1] for layer in layers.values())
    outputs = {*aliases["key"], *aliases["value"]}
    down = {n for n in aliases["ffn"] if sizes(layers[n])[0] > sizes(layers[n])[1]}
    return sum(sizes(layers[n])[1] for n in outputs) + sum(sizes(layers[n])[0] for n in down)


ROWS: dict[str, Row] = {
    "ia3": Row(IA3(), _ia3, anywhere=True),
    "ia3-inputs": Row(
        IA3(targets="all-linear", feedforward=["layers.1*"], head="adapt"),
        lambda base, head: sum(
            sizes(layer)[0 if name.removeprefix("model.").startswith("layers.1") else 1]
            for name, layer in weight_layers(base, head=head).items()
            if is_linear(layer)
        ),
    ),
}
