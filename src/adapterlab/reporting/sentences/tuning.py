"""How options were chosen, in sentences: it decides what a comparison is worth."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from adapterlab.base.amounts import counted
from adapterlab.tracking.tuning_tags import (
    ARM,
    AT,
    EDGE,
    GRID,
    KEY,
    PRUNED,
    PRUNED_EPOCH,
    SEEDS,
    STUDY,
    SUPERSEDED,
    TRIALS,
    trial,
    tuned,
    values,
)

RATE = "optimizer.lr"

_MANY = 10
"""Tuning seeds from which on what is chosen by luck changes few verdicts."""


class Logged(Protocol):
    """A run as the store has it."""

    @property
    def run_id(self) -> str:
        """Its id."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags."""

    @property
    def params(self) -> Mapping[str, str]:
        """Its options."""


class Trial(Logged, Protocol):
    """A tuning run as the store has it."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Its final metrics."""


AnyLogged = TypeVar("AnyLogged", bound=Logged)


def status(run: object) -> str:
    """Return how a run ended; runs that do not say it have finished."""
    return str(getattr(run, "status", "finished")).lower()


def superseded(runs: Iterable[Logged]) -> set[str]:
    """Return the ids of runs whose arm was tuned again since, and is run with other values now.

    The sweeper marks them when it chooses anew, and takes the mark off when it comes back to them.
    """
    return {run.run_id for run in runs if run.tags.get(tuned(SUPERSEDED))}


def on_superseded(runs: Sequence[Logged]) -> list[str]:
    """Say which runs of a study are left out, and what was chosen instead.

    Args:
        runs: all of the study, those that are left out among them.
    """
    replaced: dict[tuple[str, str, str], int] = {}
    for run in runs:
        if (now := run.tags.get(tuned(SUPERSEDED))) is not None:
            before = _written(values(run.tags, "tuned"))
            key = (_arm(run), before, now)
            replaced[key] = replaced.get(key, 0) + 1
    return [
        f"{count} {'run is' if count == 1 else 'runs are'} left out: {arm} was tuned again, and is "
        f"run with {now} in place of {before}"
        for (arm, before, now), count in replaced.items()
    ]


def on_tuning(runs: Sequence[Logged], names: Mapping[str, str] | None = None) -> list[str]:
    """Say what was tuned, on what and how often, and what was not.

    Args:
        runs: that are compared, without superseded ones.
        names: of arms by the tag `arm`; without one, an arm is called as it was written.
    """
    arms = _one_each(runs)
    chosen = {key: values(run.tags, "tuned") for key, run in arms.items() if _is_tuned(run)}
    called = {key: (names or {}).get(key) or _arm(run) for key, run in arms.items()}
    said = []
    if chosen:
        said += _what_was_tuned(arms, chosen, called)
        said += _chosen_by_luck(arms, chosen)
        said += _unlike(arms, chosen, called)
        at_edges: dict[str, list[str]] = {}
        for key in chosen:
            if edge := arms[key].tags.get(tuned(EDGE)):
                at_edges.setdefault(edge, []).append(called[key])
        said += [
            f"{', '.join(of)}: the best {edge}; beyond it may be better ones"
            for edge, of in at_edges.items()
        ]
    return said + _shared_rate(arms, chosen)


def on_failures(trials: Sequence[Logged]) -> list[str]:
    """Say of which arms tuning runs failed, of the last time that each was tuned.

    Args:
        trials: the runs of a tuning study, of any status.
    """
    said = []
    for arm in latest_trials(trials).values():
        failed = [run for run in arm if status(run) not in ("finished", "pruned")]
        if not failed:
            continue
        reason = next((why for run in failed if (why := _reason(run))), "no reason was logged")
        if len(failed) == len(arm):
            runs = "its only tuning run" if len(arm) == 1 else f"all {len(arm)} tuning runs"
            said.append(
                f"{_trial_arm(arm[0])}: {runs} failed, so it is not in the comparison ({reason})"
            )
        else:
            said.append(
                f"{_trial_arm(arm[0])}: {len(failed)} of {len(arm)} tuning runs failed ({reason})"
            )
    return said


def on_seeds(runs: Iterable[Logged], trials: Sequence[Logged]) -> list[str]:
    """Say which runs are compared on a seed that their arm's values were chosen by.

    One command refuses such seeds; of two, the second may choose by what the first has compared.

    Args:
        runs: that are compared, without superseded ones.
        trials: the runs of the tuning study, of any status.
    """
    by = {key: {run.tags.get("seed") for run in own} for key, own in latest_trials(trials).items()}
    seeds: dict[str, int] = {}
    for run in runs:
        if (seed := run.tags.get("seed")) is not None and seed in by.get(
            run.tags.get(tuned(KEY), ""), ()
        ):
            seeds[seed] = seeds.get(seed, 0) + 1
    if not seeds:
        return []
    one = sum(seeds.values()) == 1
    by_which = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(sorted(seeds, key=int))}"
    return [
        f"{counted(sum(seeds.values()), 'run')} {'is' if one else 'are'} compared on a seed that "
        f"values were chosen by ({by_which}): such a run was picked "
        "for its luck, so that figures are too good and differences may be false; "
        "hydra.sweeper.tuning_seeds takes others"
    ]


def on_pruned(trials: Sequence[Trial]) -> list[str]:
    """Say how many tuning runs were stopped early, and what that has saved.

    Args:
        trials: the runs of a tuning study, of any status.
    """
    tried = [run for arm in latest_trials(trials).values() for run in arm]
    stopped = [run for run in tried if status(run) == "pruned"]
    if not stopped:
        return []
    arms: dict[str, int] = {}
    for run in stopped:
        arms[_trial_arm(run)] = arms.get(_trial_arm(run), 0) + 1
    rules = dict.fromkeys(run.tags[trial(PRUNED)].partition(" ")[0] for run in stopped)
    whole = sum(int(run.params.get("epochs", "0")) for run in tried)
    left = sum(
        int(run.params.get("epochs", "0")) - int(run.metrics.get(PRUNED_EPOCH, 0))
        for run in stopped
    )
    share = f", which saved {left} of {whole} epochs ({left / whole:.0%})" if whole else ""
    counts = ", ".join(f"{name} {count}" for name, count in arms.items())
    return [
        f"{len(stopped)} of {len(tried)} tuning runs were pruned by {' and '.join(rules)}{share}: "
        f"{counts}. What they would have reached is not known: where good values begin slowly, "
        "arms are compared at worse ones, and may differ by that alone; hydra.sweeper.pruner=null "
        "resume=true trains them on, and chooses among all"
    ]


def latest_trials(trials: Iterable[AnyLogged]) -> dict[str, list[AnyLogged]]:
    """Return the tuning runs of each arm, by its key, that it was tuned with last.

    Every run says when it was last among those that are chosen from, so runs that only a grid of
    before had are left out.
    """
    arms: dict[str, list[AnyLogged]] = {}
    for run in trials:
        if key := run.tags.get(trial(KEY)):
            arms.setdefault(key, []).append(run)
    last = {key: max(run.tags.get(trial(AT), "") for run in own) for key, own in arms.items()}
    return {
        key: [run for run in own if run.tags.get(trial(AT), "") == last[key]]
        for key, own in arms.items()
    }


def _what_was_tuned(
    arms: Mapping[str, Logged], chosen: Mapping[str, Mapping[str, str]], called: Mapping[str, str]
) -> list[str]:
    """Say it for arms of which the same options were tuned."""
    by_options: dict[tuple[str, ...], list[str]] = {}
    for key, own in chosen.items():
        by_options.setdefault(tuple(own), []).append(key)
    said = []
    for options, keys in by_options.items():
        one = len(options) == 1
        what = "learning rates" if options == (RATE,) else " and ".join(options)
        were = "was" if one and options != (RATE,) else "were"
        studies = "/".join(dict.fromkeys(arms[key].tags.get(tuned(STUDY), "?") for key in keys))
        counts = dict.fromkeys(arms[key].tags.get(tuned(TRIALS), "?") for key in keys)
        trials = "/".join(counts)
        runs = "trial" if trials == "1" else "trials"
        of = "" if len(keys) == len(arms) else f" of {len(keys)} of {len(arms)} arms"
        picked = ", ".join(
            f"{called[key]} {next(iter(chosen[key].values())) if one else _written(chosen[key])}"
            for key in keys
        )
        said.append(
            f"{what}{of} {were} tuned on validation in study {studies}, {trials} {runs} an arm: "
            f"{picked}"
        )
    return said


def _chosen_by_luck(
    arms: Mapping[str, Logged], chosen: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Say that arms are compared at what was chosen for each, where these are not the same."""
    if len({tuple(own.items()) for own in chosen.values()}) < 2:
        return []
    counts = {int(n) for key in chosen if (n := arms[key].tags.get(tuned(SEEDS), "")).isdigit()}
    if not counts or min(counts) >= _MANY:
        return []
    seeds = "one tuning seed" if min(counts) == 1 else f"{min(counts)} tuning seeds"
    return [
        f"values were chosen by {seeds}: the luck of that is in no interval, so verdicts are on "
        "arms with these very values, and equal ways that were given unlike ones may well differ "
        "(more hydra.sweeper.tuning_seeds help)"
    ]


def _unlike(
    arms: Mapping[str, Logged], chosen: Mapping[str, Mapping[str, str]], called: Mapping[str, str]
) -> list[str]:
    """Say which arms were tuned otherwise than most."""
    grids: dict[str, list[str]] = {}
    for key in chosen:
        grids.setdefault(arms[key].tags.get(tuned(GRID), "?"), []).append(key)
    if len(grids) < 2:
        return []
    groups = sorted(grids.values(), key=len, reverse=True)
    parts = []
    for keys in groups:
        counts = dict.fromkeys(arms[key].tags.get(tuned(TRIALS), "?") for key in keys)
        parts.append(f"{', '.join(called[key] for key in keys)} ({'/'.join(counts)} trials)")
    return [
        "arms were not tuned alike, on different grids: " + "; ".join(parts) + ". Tune all of them "
        "on one (resume=true skips what has finished)"
    ]


def _shared_rate(arms: Mapping[str, Logged], chosen: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Say where strategies share a learning rate that nobody chose for each."""
    given = [run for key, run in arms.items() if RATE not in chosen.get(key, {})]
    rates = {run.params.get(RATE) for run in given}
    strategies = {run.tags.get("strategy") for run in given}
    if len(rates) != 1 or len(strategies) < 2 or len(given) < len(arms):
        return []
    return [
        f"all strategies share one learning rate, {rates.pop()}: tuned for each, they might "
        "rank otherwise (experiment=compare tunes)"
    ]


def _one_each(runs: Iterable[Logged]) -> dict[str, Logged]:
    """Return a run of every arm: of those, one that says when it was chosen, if there is one."""
    arms: dict[str, Logged] = {}
    for run in runs:
        key = run.tags.get("arm", "")
        if key not in arms or (not arms[key].tags.get(tuned(AT)) and run.tags.get(tuned(AT))):
            arms[key] = run
    return arms


def _is_tuned(run: Logged) -> bool:
    return tuned(STUDY) in run.tags


def _arm(run: Logged) -> str:
    return run.tags.get(tuned(ARM)) or run.tags.get("arm_name") or run.tags.get("strategy", "?")


def _trial_arm(run: Logged) -> str:
    return run.tags.get(trial(ARM), "?")


def _reason(run: Logged) -> str:
    """Return why a run failed, without the kind of the error."""
    error = run.tags.get("error", "")
    kind, colon, text = error.partition(": ")
    return text if colon and text and kind.isidentifier() else error


def _written(chosen: Mapping[str, str]) -> str:
    return " ".join(f"{option}={value}" for option, value in chosen.items())
