"""Frozen means frozen: which modules stay in evaluation mode while others are trained.

A batch norm in training mode moves its running statistics, whatever the learning rate, and dropout
draws noise in front of weights that cannot answer it: it costs time (attention loses its fast
kernel) and makes frozen features random.
"""

from collections.abc import Iterator

from torch import nn

from adapterlab.models.protocol import adaptable


def staying_in_evaluation(
    model: nn.Module, added: type[nn.Module] | tuple[type[nn.Module], ...]
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the model's own modules that are frozen, by name; they stay in evaluation mode.

    A module is frozen if a weight in it is: a batch norm, also where its bias alone is trained. One
    without weights, as dropout, belongs to what it is part of, and beside the head to the head.
    Where the model says `frozen_dropout`, only modules that keep statistics of batches stay.

    Args:
        model: under a strategy, so that its frozen parameters are known.
        added: what strategies put around modules. It is none of the model's own, and only what is
            inside its `base` is looked at.
    """
    said = adaptable(model)
    heads = [p for name in said.head_modules for p in model.get_submodule(name).parameters()]
    head_is_trained = all(p.requires_grad for p in heads)
    beside_head = {"", *(above for name in said.head_modules for above in _above(name))}
    trained: dict[str, bool] = {}
    around, theirs = set[str](), set[str]()  # what was added, and what it has beside its base
    of_weights = dict[int, bool | None]()
    for name, module in model.named_modules():
        parent = name.rpartition(".")[0]
        own = _all_trained(module, of_weights)
        if name in beside_head:
            trained[name] = head_is_trained
        else:
            trained[name] = trained[parent] if own is None else own
        if isinstance(module, added):
            around.add(name)
        elif parent in theirs or (parent in around and name != f"{parent}.base"):
            theirs.add(name)
        elif not trained[name] and (keeps_statistics(module) or not said.frozen_dropout):
            yield name, module


def keeps_statistics(module: nn.Module) -> bool:
    """Say whether a module keeps running statistics of the batches that it has seen."""
    return bool(getattr(module, "track_running_stats", False))


def _all_trained(module: nn.Module, known: dict[int, bool | None]) -> bool | None:
    """Say whether all weights in a module are trained; None if it has none.

    Args:
        module: each in it is looked at once, however deep it lies.
        known: what was found so far, by the module's id.
    """
    if id(module) not in known:
        inside = [
            _all_trained(child, known) for child in module._modules.values() if child is not None
        ]
        found = [p.requires_grad for p in module._parameters.values() if p is not None]
        found += [one for one in inside if one is not None]
        known[id(module)] = all(found) if found else None
    return known[id(module)]


def _above(name: str) -> Iterator[str]:
    """Yield the names of the modules that this one is in."""
    while name := name.rpartition(".")[0]:
        yield name
