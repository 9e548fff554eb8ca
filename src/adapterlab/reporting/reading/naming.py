"""What arms are called: names that stay the same while a study grows, and finding an arm by one.

A name is made of what a run itself was told: the file of its arm or its strategy, the strategy's
options, and the options that its multirun varies (see `config.overrides`). Where that leaves two
arms equal, the one that was there first keeps the name, and the later one says in what it differs.
Runs of before were told nothing that is known: among themselves, they are
named by the strategy and by the options in which its arms differ.
"""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from adapterlab.base.dotted_names import within
from adapterlab.reporting.reading.runs import NAMING, Run
from adapterlab.reporting.reading.versions import SHORT
from adapterlab.runs.identity import BOOKKEEPING, SEEDS

NO_NAMES = (
    *(*BOOKKEEPING, *SEEDS, "hardware", "adapter.label"),
    *("dataset.validation_seed", "dataset.source", "dataset.source_epochs"),
    *("base.dataset.validation_seed", "base.dataset.source", "base.dataset.source_epochs"),
)
"""Options that tell no arms apart, or follow from one that does."""

SOURCE, SOURCE_DATA = "base.source", "base.dataset"
"""What a base is trained on: its name, and all of its options, which follow unless they are set."""

CHOICES = {
    "dataset.name": ("dataset", "base"),
    "model.name": ("model",),
    "optimizer.name": ("optimizer",),
    "base.kind": ("base",),
    SOURCE: (SOURCE, SOURCE_DATA),
}
"""Options whose value stands for those of whole groups."""

TASK = ("dataset", "model", "limit", "base.source")
"""Options that say what is learnt, rather than how."""

MANY = 2
"""More options than these are said by the arm's label, where it has one of its own."""


@dataclass(frozen=True)
class Name:
    """A name in parts.

    Attributes:
        head: the strategy, or what an experiment calls the arm.
        parts: options and how they are written: ``("adapter.rank", "rank=4")``.
    """

    head: str
    parts: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """Write it: ``lora rank=4``."""
        return " ".join([self.head, *(text for _, text in self.parts)])

    def without(self, parts: Collection[tuple[str, str]]) -> str:
        """Write it without some parts."""
        return " ".join([self.head, *(part[1] for part in self.parts if part not in parts)])

    def plus(self, *parts: tuple[str, str]) -> "Name":
        """Return the name with more parts."""
        return Name(self.head, (*self.parts, *parts))


def names_of(
    arms: Mapping[str, Sequence[Run]], apart: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Name]:
    """Return a name of its own for every arm.

    Args:
        arms: the runs of each by its hash; at least one.
        apart: of each, hashes of what it was computed on that is not what the study was; its name
            says so.
    """
    first = {arm: _first(runs) for arm, runs in arms.items()}
    untold = [run for run in first.values() if NAMING not in run.tags]
    names: dict[str, Name] = {}
    taken: dict[str, Run] = {}
    for arm in sorted(first, key=lambda arm: (first[arm].started, arm)):
        run = first[arm]
        told = NAMING in run.tags
        name = _told_name(run) if told else _untold_name(run, untold)
        on = [
            ("", f"{SHORT[what]}={value[:6]}") for what, value in (apart or {}).get(arm, {}).items()
        ]
        if told and str(name.plus(*on)) in taken:
            name = _told_name(run, in_full=True)
        name = name.plus(*on)
        if (other := taken.get(str(name))) is not None:
            longer = name.plus(
                *_parts(run, _differences(run, [run, other])), *_precision(run, other)
            )
            name = longer if str(longer) not in taken else name.plus(("", f"({arm[:6]})"))
        taken[str(name)] = run
        names[arm] = name
    return names


def methods_of(names: Mapping[str, Name], data_sets: Mapping[str, str]) -> dict[str, str]:
    """Return names without what tells data sets and models apart, as far as no two become one.

    Where arms of one data set differ in their models, say, only what all of its arms share is left
    out.

    Args:
        names: by arm.
        data_sets: likewise.
    """
    of_task = {
        arm: {part for part in name.parts if within(part[0], TASK)} for arm, name in names.items()
    }
    shared: dict[str, set[tuple[str, str]]] = {}
    for arm, parts in of_task.items():
        shared[data_sets[arm]] = shared.get(data_sets[arm], parts) & parts
    for left_out in (of_task, {arm: shared[data_sets[arm]] for arm in names}):
        methods = {arm: name.without(left_out[arm]) for arm, name in names.items()}
        if len({(data_sets[arm], method) for arm, method in methods.items()}) == len(methods):
            return methods
    return {arm: str(name) for arm, name in names.items()}


def tidy(value: str) -> str:
    """Write a value as a person would: ``[query, value]``, ``1e-5``, without quotes."""
    text = value.strip()
    if re.fullmatch(r"[+-]?\d[\d.]*e[+-]?\d+", text):
        return re.sub(r"e([+-]?)0*(\d)", lambda m: f"e{m[1].replace('+', '')}{m[2]}", text)
    if text[:1] in "[{" or text[:1] in "'\"":
        text = re.sub(r"['\"]", "", text)
        text = re.sub(r"\s*,\s*", ", ", text)
        text = re.sub(r"\s*:\s*", ": ", text) if text[:1] == "{" else text
    return text


def _first(runs: Sequence[Run]) -> Run:
    """Return the run of an arm that it is named by: the first that had time to log itself."""
    return min(runs, key=lambda run: (not run.params, run.started, run.run_id))


def _told_name(run: Run, *, in_full: bool = False) -> Name:
    """Return the name that a run was told; see `told_name`."""
    told = run.tags[NAMING]
    return told_name(run.strategy, [] if told == "none" else shlex.split(told), in_full=in_full)


def told_name(strategy: str, told: Sequence[str], *, in_full: bool = False) -> Name:
    """Return the name that a run was told.

    Args:
        strategy: its way of fine-tuning.
        told: options to name its arm by, as they were written.
        in_full: name the arm's file with its folder.
    """
    pairs = (option.partition("=") for option in told)
    options = {key.lstrip("+"): value for key, _, value in pairs}
    head = options.pop("adapter", strategy)
    if (file := options.pop("arm", "null")) not in ("null", ""):
        if head != strategy:
            options["adapter"] = head
        head = file if in_full else file.rpartition("/")[2]
    texts = {key: f"{key.removeprefix('adapter.')}={tidy(text)}" for key, text in options.items()}
    if options.get("base") == "scratch":
        texts["base"] = "from scratch"
    own_first = sorted(texts.items(), key=lambda part: (not within(part[0], ("adapter",)), part[0]))
    return Name(head, tuple(own_first))


def _untold_name(run: Run, arms: Sequence[Run]) -> Name:
    """Return the strategy, and the options in which its arms differ: ``lora rank=4``.

    Where these are many and every arm has a label of its own, that is the name.

    Args:
        run: any of the arm's.
        arms: one run of every arm that is named this way.
    """
    peers = [other for other in arms if other.strategy == run.strategy and other.params]
    parts = _parts(run, _differences(run, peers))
    label = run.params.get("adapter.label")
    labels = {other.params.get("adapter.label") for other in peers}
    if len(parts) > MANY and label is not None and len(labels) == len(peers):
        return Name(label)
    return Name(run.strategy, tuple(parts))


def _differences(run: Run, peers: Sequence[Run]) -> set[str]:
    """Return the options of a run in which it or others of `peers` differ."""
    found = {
        key
        for key in run.params
        if not within(key, NO_NAMES) and len({_same(other.params.get(key)) for other in peers}) > 1
    }
    for choice, groups in CHOICES.items():
        if choice in found:
            found = {key for key in found if key == choice or not within(key, groups)}
    if "base.kind" in found and run.params["base.kind"] != "scratch":
        kinds = {other.params.get("base.kind") for other in peers}
        if len(kinds - {"scratch"}) < 2:
            found.remove("base.kind")
    return found


def _precision(run: Run, other: Run) -> list[tuple[str, str]]:
    """Return what arms may differ in of the hardware, which is otherwise no part of a name."""
    mine, yours = run.precision, other.precision
    known = mine and yours and mine != yours
    return [("hardware.precision", f"precision={mine}")] if known else []


def _parts(run: Run, keys: set[str]) -> list[tuple[str, str]]:
    """Write options of a run."""
    parts = []
    for key in sorted(keys - {"base.kind"}):
        parts.append((key, f"{key.removeprefix('adapter.')}={tidy(run.params[key])}"))
    if "base.kind" in keys:
        kind = run.params["base.kind"]
        parts.append(("base.kind", "from scratch" if kind == "scratch" else f"base={kind}"))
    return parts


def _same(value: str | None) -> str | float | None:
    """Return what is equal for equal values: 16 and 16.0, 1e-3 and 0.001."""
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        return tidy(value)


def equal(one: str, other: str | None) -> bool:
    """Say whether two texts write the same value."""
    return _same(one) == _same(other)
