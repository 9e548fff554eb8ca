"""Hand over what a stranger has prepared: run folders, stores, checkpoints, names; no code runs.

Each attack leaves a canary if code of the stranger's ran, and must end in one line or in no harm.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from faults import hostile_files, hostile_names, hostile_targets
from faults.hostile import Lab
from faults.trying import Setting, Trial

COUNT = 120

Attack = Callable[[Lab, Path], str]
"""Is made in a folder of its own; says what came of it, or raises what nobody should see."""

ATTACKS: dict[str, Attack] = {
    **hostile_targets.ATTACKS,
    **hostile_files.ATTACKS,
    **hostile_names.ATTACKS,
}


def tries(setting: Setting) -> Iterator[Trial]:
    """Make each attack in turn; those with chance in them differ from round to round."""
    lab = Lab.prepared(setting)
    names = list(ATTACKS)
    for number in range(setting.count):
        fault = names[number % len(names)]
        folder = setting.root(f"attack-{number}")
        yield made(fault, lab, folder, number)


def made(fault: str, lab: Lab, folder: Path, number: int = 0) -> Trial:
    """Make one attack.

    Args:
        fault: its name.
        lab: what is attacked.
        folder: an empty folder of its own.
        number: of the trial, to do it again.
    """
    lab.canary = folder / "CANARY"
    here = Path.cwd()
    try:
        what, held = ATTACKS[fault](lab, folder), True
    except Exception as error:  # a traceback is what must not be
        what, held = f"{type(error).__name__}: {error}".replace("\n", " ")[:300], False
    finally:
        os.chdir(here)
    if lab.canary.exists():
        what, held = f"its code ran; {what}", False
    return Trial(fault, held, what if held else f"{what} (trial {number})")
