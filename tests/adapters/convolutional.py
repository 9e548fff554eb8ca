"""A small convolutional network with batch norms, as somebody outside of the program has one."""

import torch
from torch import Tensor, nn

from adapterlab.adapters import AdaptedModel
from adapterlab.models import ClassifierModel, wrapped

CHANNELS = 4


class ConvolutionalBlock(nn.Module):
    """A residual block over places: a convolution, its batch norm, and a linear layer."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1)
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.drop = nn.Dropout(dropout)
        self.output = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.output(self.drop(torch.tanh(self.norm(self.conv(x.mT)).mT)))


class Convolutional(nn.Module):
    """Takes vectors [B, d] as d places of one channel."""

    def __init__(self, classes: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, CHANNELS, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.layers = nn.ModuleList(ConvolutionalBlock(dropout) for _ in range(3))
        self.classifier = nn.Linear(CHANNELS, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x[:, None])).mT
        for layer in self.layers:
            x = layer(x)
        return self.classifier(x.mean(1))


def convolutional(
    classes: int, dropout: float = 0.0, *, frozen_dropout: bool = False
) -> ClassifierModel:
    return wrapped(
        lambda: Convolutional(classes, dropout),
        head="classifier",
        blocks=[f"layers.{i}" for i in range(3)],
        generator=None,
        frozen_dropout=frozen_dropout,
    )


def statistics_of_trained_norms(adapted: AdaptedModel) -> set[str]:
    """Return the names of all that a training changes beside parameters."""
    norms = {n: m for n, m in adapted.model.named_modules() if isinstance(m, nn.BatchNorm1d)}
    return {
        f"{name}.{buffer}"
        for name, norm in norms.items()
        if norm.weight.requires_grad and norm.bias.requires_grad
        for buffer in ("running_mean", "running_var", "num_batches_tracked")
    }
