"""How much a strategy may train: the setting of its dial that comes nearest to a budget."""

import copy
import warnings
from bisect import bisect_right
from dataclasses import dataclass

from torch import nn

from adapterlab.adapters.strategy import AdapterLayer, Strategy


@dataclass(frozen=True)
class Fitted:
    """A strategy under a budget.

    Attributes:
        strategy: with its dial set; as it was where it has none.
        asked: parameters of the budget.
        trained: adapter and head parameters that the strategy trains.
        dial: the place of its dial below `adapter`; None where it has none.
    """

    strategy: Strategy
    asked: int
    trained: int
    dial: str | None

    def __str__(self) -> str:
        share = self.trained / self.asked
        return f"budget: {self.asked:,} asked, {self.trained:,} trained ({share:.1%})"

    @property
    def over(self) -> int:
        """Parameters above the budget, of which no setting has fewer."""
        return max(self.trained - self.asked, 0)


def in_parameters(budget: int | str, model: nn.Module) -> int:
    """Return a budget as a number of parameters, at least 1; a share is rounded down.

    Args:
        budget: parameters, or a share of the base such as ``1%``.
        model: the base, adapted or not; what an adapter adds is no part of it.
    """
    if isinstance(budget, int):
        return budget
    layers = [module for module in model.modules() if isinstance(module, AdapterLayer)]
    added = {id(p) for m in layers for p in m.parameters()} - {
        id(p) for m in layers for p in m.base.parameters()
    }
    base = sum(p.numel() for p in model.parameters() if id(p) not in added)
    return max(int(base * float(budget.removesuffix("%")) / 100), 1)


def fit(strategy: Strategy, model: nn.Module, budget: int | str) -> Fitted:
    """Return the strategy that trains the most parameters within a budget.

    Its dial is set to the value with the most adapter and head parameters that are no more than the
    budget, or to the one with the fewest where these are over it already.

    Args:
        strategy: its dial is as configured.
        model: not adapted; best on the meta device. It is left as it is.
        budget: parameters, or a share of the base such as ``1%``.

    Raises:
        ConfigError: the strategy does not fit the model, or its options fix what it trains.
    """
    asked = in_parameters(budget, model)

    def trained(candidate: Strategy) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are for the run itself
            return candidate.apply(copy.deepcopy(model)).count().trainable

    dial = strategy.budget_dial()
    if dial is not None:
        # Where none fits, the least says why when it is applied.
        settings = range(strategy.least, max(strategy.least, strategy.most(model)) + 1)

        def own(value: int) -> int:
            return trained(strategy.turned(value))

        if strategy.steady:
            setting = settings[max(bisect_right(settings, asked, key=own) - 1, 0)]
        else:
            counts = {value: own(value) for value in settings}
            within = [value for value in settings if counts[value] <= asked]
            setting = max(
                within, key=counts.__getitem__, default=min(settings, key=counts.__getitem__)
            )
        strategy = strategy.turned(setting)
    return Fitted(strategy, asked, trained(strategy), dial)
