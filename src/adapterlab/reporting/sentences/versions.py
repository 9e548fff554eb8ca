"""What a reader must know of what runs were computed on, and with which versions of what."""

from collections.abc import Iterable, Sequence

from adapterlab.base.amounts import counted
from adapterlab.reporting.formatting import listed
from adapterlab.reporting.reading.same_data import PATH
from adapterlab.reporting.reading.study import Arm, Run
from adapterlab.reporting.reading.versions import TAGS, known_of

LIBRARIES = {
    "torch": "hardware.torch",
    "lightning": "hardware.lightning",
    "transformers": "version.transformers",
    "tokenizers": "version.tokenizers",
    "peft": "version.peft",
    "scikit-learn": "version.scikit-learn",
    "Python": "hardware.python",
}
"""The tags of versions, by what they are of."""

_NAMES = 4
"""Arms that are named at most."""


def on_versions(arms: Sequence[Arm]) -> list[str]:
    """Say which arms are apart for what they were computed on, and what differs inside of arms.

    Args:
        arms: of one data set.
    """
    return [
        *_apart(arms),
        *_moved([run for arm in arms for run in (*arm.runs, *arm.lost)]),
        *_replaced([run for arm in arms for run in (*arm.runs, *arm.lost)]),
        *_unknown(arms),
        *_libraries(arms),
    ]


def _apart(arms: Sequence[Arm]) -> list[str]:
    """Say which arms were computed on something else than the study's first runs."""
    by_what: dict[str, list[Arm]] = {}
    for arm in arms:
        if arm.apart:
            by_what.setdefault(" and ".join(arm.apart), []).append(arm)
    said = []
    for what, own in by_what.items():
        names, was = _names(arm.name for arm in own), "was" if len(own) == 1 else "were"
        other = "another" if what == "tokenizer" else "other"
        places = _places(own) if "data" in what else ""
        said.append(
            f"{names} {was} computed on {other} {what} than the study's first runs{places}: what "
            "differs may come from that"
        )
    return said


def _places(arms: Iterable[Arm]) -> str:
    runs = [run for arm in arms for run in (*arm.runs, *arm.lost)]
    places = sorted({run.params.get("data_dir", "None") for run in runs} - {"None"})
    return f" (data_dir={listed(places, _NAMES)})" if places else ""


def _moved(runs: Sequence[Run]) -> list[str]:
    """Say of how many places the data were read, where they are the same by their hash."""
    moved = sorted({run.read_at for run in runs} - {""})
    if not moved:
        return []
    places = listed([next(run.params[PATH] for run in runs if run.read_at), *moved], _NAMES)
    return [f"the data were read at {places}: they are the same, by their hash, and one data set"]


def _replaced(runs: Iterable[Run]) -> list[str]:
    """Say which runs were repeated on something else, so that earlier ones do not count."""
    count: dict[str, int] = {}
    for run in runs:
        if run.replaced:
            what = " and ".join(run.replaced)
            count[what] = count.get(what, 0) + 1
    return [
        f"{counted(number, 'run')} {'was' if number == 1 else 'were'} repeated after the {what} "
        "had changed; what had been run before that does not count"
        for what, number in count.items()
    ]


def _unknown(arms: Iterable[Arm]) -> list[str]:
    """Say where some of an arm's runs did not record what others did."""
    said: dict[str, list[str]] = {}
    for arm in arms:
        known = [{what for what, _ in known_of(run)} for run in arm.runs]
        some = set.union(set(), *known)
        lacking = [sum(what not in one for one in known) for what in TAGS if what in some]
        if any(lacking):
            said.setdefault(f"{max(lacking)} of {len(arm.runs)}", []).append(arm.name)
    return [
        f"{share} runs of {_names(names)} are from before all that they were computed on was "
        "recorded: that it was the same is not known"
        for share, names in said.items()
    ]


def _libraries(arms: Iterable[Arm]) -> list[str]:
    """Say where runs of an arm were made with other versions of libraries or of this code."""
    said: dict[str, list[str]] = {}
    for arm in arms:
        found = []
        for name, tag in LIBRARIES.items():
            versions = sorted({run.tags[tag] for run in arm.runs if tag in run.tags})
            if len(versions) > 1:
                found.append(f"{name} {' and '.join(versions)}")
        if code := _code(arm.runs):
            found.append(code)
        if found:
            said.setdefault(", ".join(found), []).append(arm.name)
    return [
        f"runs of {_names(names)} were made with different versions: {found}"
        for found, names in said.items()
    ]


def _code(runs: Iterable[Run]) -> str:
    """Return the commits of this code that runs were made with, where it was not the same."""
    code = {
        run.tags.get("code_hash") or run.tags.get("git_commit", ""): run.tags
        for run in runs
        if "git_commit" in run.tags or "code_hash" in run.tags
    }
    if len(code) < 2:
        return ""
    called = sorted(
        tags["git_commit"][:7] + "+" * tags["git_commit"].endswith("+")
        if "git_commit" in tags
        else tags.get("version.adapterlab", key)
        for key, tags in code.items()
    )
    several = dict.fromkeys(called)
    return f"this code at {' and '.join(several)}" if len(several) > 1 else "this code, edited"


def _names(names: Iterable[str]) -> str:
    return listed(list(names), _NAMES)
