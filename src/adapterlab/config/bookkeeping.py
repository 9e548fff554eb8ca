"""Bookkeeping in a run's configuration: what its command line said, how its options were chosen."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from adapterlab.config.domains import Count
from adapterlab.config.validation import STRICT

LONGEST_NAME = 200
"""Characters: file systems take 255, and hashes and endings follow."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=LONGEST_NAME)]
Target = dict[str, Any]
"""A node with `_target_` and its arguments, a `name` for tags and maybe a `label` for names."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tuning:
    """How a run's options were chosen on validation; the tuned sweeper fills it in.

    Attributes:
        study: of the runs that they were chosen among.
        trials: such runs of this run's arm.
        chosen: the options, and their values.
        key: of this run's arm, whatever is tried with it.
        grid: of what was tried; both are None in configurations from before they were kept.
    """

    study: FileName
    trials: Count
    chosen: dict[str, Any]
    key: str | None = None
    grid: str | None = None


Rule = Literal["median", "successive_halving"]
"""By which a pruner stops trials; each is a pruner of Optuna's."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrialPruner:
    """What may stop a tuning run before its last epoch; the tuned sweeper fills it in.

    Attributes:
        rule: of Optuna's pruner.
        options: of it.
        among: the key of the arm whose trials are compared.
        lanes: runs that are trained at the same time; None for as many as memory has room for.
    """

    rule: Rule
    among: FileName
    options: dict[str, Any] = Field(default_factory=dict)
    lanes: Count | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Told:
    """What a run was told on its command line.

    Attributes:
        options: overrides, in the order of their names, without bookkeeping and seeds.
        naming: those of them by which people tell its arm from others.
    """

    options: list[str]
    naming: list[str]
