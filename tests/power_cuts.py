"""Runs that end in the middle of their training, as by a power cut."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.training.fit import fit


class PowerCutError(Exception):
    """Stands for a power cut."""


def cut_in(config: Config, epoch: int, *, reported: bool = False) -> None:
    """Run until an epoch has been trained, before anything of it is saved.

    Args:
        config: of the run.
        epoch: after which nothing happens any more.
        reported: whether it has been reported.
    """

    def cut(*args: Any, report: Callable[[int, Mapping[str, float]], None], **options: Any) -> Any:
        def stopping(number: int, metrics: Mapping[str, float]) -> None:
            if number != epoch or reported:
                report(number, metrics)
            if number == epoch:
                raise PowerCutError

        return fit(*args, report=stopping, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.runs.single.fit", cut)
        with pytest.raises(PowerCutError):
            single.run(config)
