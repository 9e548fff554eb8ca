"""Rows of methods that scale, rotate or mask what is there, and of controls."""

from dataclasses import replace

from rows import NOTHING, Row, of_linear
from torch import nn

from adapterlab.adapters import BOFT, GPS, IA3, OFT, SSF, FrozenLoRA, LNTuning, SHiRA
from adapterlab.adapters.weights import is_linear, sizes, weight_layers
from adapterlab.base.dotted_names import within
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


def _norms(base: nn.Module, head: bool, *kinds: type[nn.Module]) -> int:
    heads = adaptable(base).head_modules
    return sum(
        p.numel()
        for name, m in base.named_modules()
        if isinstance(m, kinds) and within(name, heads) == head
        for p in m.parameters()
    )


def _ssf(base: nn.Module, head: bool) -> int:
    """Count a scale for each output, and a shift where there is a bias, of layers and norms."""
    return _ssf_of_linear(base, head) + _norms(base, head, nn.LayerNorm, nn.BatchNorm1d)


def _ssf_of_linear(base: nn.Module, head: bool) -> int:
    layers = [m for m in weight_layers(base, head=head).values() if is_linear(m)]
    return sum((1 + (m.bias is not None)) * sizes(m)[1] for m in layers)


def _oft(strategy: OFT, *, anywhere: bool = False) -> Row:
    def per_layer(name: str, d_in: int, d_out: int) -> int:
        distance = {
            n: (abs(n - strategy.block_size), n) for n in range(2, d_in + 1) if d_in % n == 0
        }
        return d_in * (min(distance, key=lambda n: distance[n]) - 1) // 2

    return Row(
        strategy,
        of_linear(per_layer),
        exact=False,  # a layer's inputs are laid out anew
        lane=lambda strategy, i: replace(strategy, block_size=(4, 2, 4, 8)[i % 4]),
        anywhere=anywhere,
    )


def _boft(name: str, d_in: int, d_out: int) -> int:
    """Count two factors in blocks of 4, or one where 4 · 2 does not divide the inputs."""
    if d_in % 8 == 0:
        return d_in * 3 + d_out
    block = min((n for n in range(2, d_in + 1) if d_in % n == 0), key=lambda n: (abs(n - 4), n))
    return (d_in * (block - 1) // 2 if d_in % 4 else d_in) + d_out


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
    "ln_tuning": Row(
        LNTuning(),
        lambda base, head: 0 if head else _norms(base, head, nn.LayerNorm),
        anywhere=True,
        lacking=frozenset({"mlp", "convolutional"}),
    ),
    "ssf": Row(SSF(), _ssf, anywhere=True),
    "ssf-adapted-head": Row(SSF(head="adapt", norms=False), _ssf_of_linear),
    "oft": _oft(OFT(block_size=4), anywhere=True),
    "oft-adapted-head": _oft(OFT(block_size=3, head="adapt")),
    "boft": Row(
        BOFT(block_size=4),
        of_linear(_boft),
        exact=False,  # a layer's inputs are laid out anew
        lane=lambda strategy, i: replace(
            strategy, block_size=(4, 4, 2)[i % 3], factors=(2, 1, 3, 2)[i % 4]
        ),
        anywhere=True,
    ),
    "shira": Row(
        SHiRA(rank=2),
        of_linear(lambda name, d_in, d_out: 2 * (d_in + d_out)),
        exact=False,  # of a layout of its inputs, or of Conv1D, the base computes otherwise
        lane=lambda strategy, i: replace(strategy, rank=(2, 1)[i % 2], random_seed=i),
        anywhere=True,
    ),
    "shira-adapted-head": Row(
        SHiRA(rank=1, mask="magnitude", head="adapt"),
        of_linear(lambda name, d_in, d_out: d_in + d_out),
        exact=False,
    ),
    "gps": Row(  # of which weights, is made from data: test_gps.py
        GPS(connections=2),
        of_linear(lambda name, d_in, d_out: 2 * d_out),
        exact=False,
        lane=lambda strategy, i: replace(strategy, connections=1 + i % 3),
        anywhere=True,
    ),
    "frozen_lora": Row(
        FrozenLoRA(rank=2, size=1e-4),
        NOTHING,
        drawn=frozenset({"A", "B"}),
        exact=False,
        nearly=1e-3,  # by intent: `size` is how far a layer's weight is moved
        lane=lambda strategy, i: replace(strategy, rank=1 + i % 3, size=0.1 * (1 + i)),
        anywhere=True,
    ),
}
