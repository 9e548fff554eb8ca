"""A model that says numbers in the unit of the data set, of one that learnt them standardised."""

from torch import nn

from adapterlab.base.errors import AdapterLabError
from adapterlab.data.targets import Scale
from adapterlab.models.protocol import adaptable


def in_own_unit(model: nn.Module, scale: Scale) -> None:
    """Let the last layer of a merged model's head undo the scale, in place.

    Args:
        model: merged, of one output.
        scale: in which the numbers were learnt.

    Raises:
        AdapterLabError: the layer has no bias that could hold the mean.
    """
    if scale == Scale():
        return
    heads = [model.get_submodule(name) for name in adaptable(model).head_modules]
    layers = [m for head in heads for m in head.modules() if isinstance(m, nn.Linear)]
    last = next((layer for layer in reversed(layers) if layer.out_features == 1), None)
    if last is None or last.bias is None:
        raise AdapterLabError(
            "the head of this model has no linear layer with a bias, which the mean of the numbers "
            "would go into; a run with loss.standardize=false can be exported"
        )
    last.weight.data.mul_(scale.deviation)
    last.bias.data.mul_(scale.deviation).add_(scale.mean)
