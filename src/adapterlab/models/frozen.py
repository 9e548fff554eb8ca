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
    seen, of_weights = set[int](), dict[int, bool | None]()
    # With each module, whether what it is part of is trained, and whether a strategy brought it.
    left = [("", model, head_is_trained, False)]
    while left:  # in the order of `named_modules`, which takes twice as long
        name, module, trained, theirs = left.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        if name in beside_head:
            trained = head_is_trained
        elif (own := _all_trained(module, of_weights)) is not None:
            trained = own
        around = isinstance(module, added)
        for child, inside in reversed(module._modules.items()):
            if inside is not None:
                brought = child != "base" if around else theirs
                left.append((f"{name}.{child}" if name else child, inside, trained, brought))
        if not (around or theirs or trained) and (
            keeps_statistics(module) or not said.frozen_dropout
        ):
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
        found = None
        for parameter in module._parameters.values():
            if parameter is not None:
                found = parameter.requires_grad
                if not found:
                    break
        else:
            for child in module._modules.values():
                inside = None if child is None else _all_trained(child, known)
                if inside is not None:
                    found = inside
                    if not found:
                        break
        known[id(module)] = found
    return known[id(module)]


def _above(name: str) -> Iterator[str]:
    """Yield the names of the modules that this one is in."""
    while name := name.rpartition(".")[0]:
        yield name
