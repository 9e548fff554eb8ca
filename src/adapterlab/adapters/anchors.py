"""What the base's weights were, for methods that train them and are drawn back to them."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from adapterlab.adapters.strategy import AdaptedModel

_NAME = "anchors"


class _Anchors(nn.Module):
    """Copies of parameters, as buffers: they move along with the model and are in no checkpoint."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = list(parameters)
        for number, parameter in enumerate(parameters.values()):
            self.register_buffer(f"of_{number}", parameter.detach().clone(), persistent=False)

    def by_name(self) -> dict[str, Tensor]:
        return {name: getattr(self, f"of_{number}") for number, name in enumerate(self.names)}


def keep_anchors(adapted: AdaptedModel, names: Collection[str]) -> None:
    """Keep trained parameters as they are now: as the base has them, before a training."""
    trained = adapted.trainable()
    adapted.add_module(_NAME, _Anchors({name: trained[name] for name in trained if name in names}))


def anchors_of(adapted: AdaptedModel) -> dict[str, Tensor]:
    """Return what was kept, by names of parameters; none where nothing was."""
    kept = dict(adapted.named_children()).get(_NAME)
    return kept.by_name() if isinstance(kept, _Anchors) else {}


def shared_anchors(
    models: Collection[AdaptedModel], device: torch.device
) -> list[dict[str, Tensor]]:
    """Return what models of one base have kept, on a device, equal tensors once for all."""
    found: list[dict[str, Tensor]] = []
    known: dict[str, Tensor] = {}
    for model in models:
        own = {}
        for name, tensor in anchors_of(model).items():
            first = known.setdefault(name, tensor.to(device))
            here = tensor.to(device)
            own[name] = first if torch.equal(first, here) else here
        found.append(own)
    return found
