"""Finding the arm that a person means: by its name, a former or shorter one, label or hash."""

import re
from collections.abc import Sequence

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.reporting.reading.naming import equal
from adapterlab.reporting.reading.study import Arm

HASH = re.compile(r"[0-9a-f]{6,12}")

GROUPS = ("", "adapter.", "optimizer.")
"""What may be left out before an option's name."""


def find_arm(arms: Sequence[Arm], reference: str, option: str = "reference") -> Arm:
    """Return the arm that a text means.

    It is the arm of this name; or else the one of this hash, of this label, of this former name,
    or the only one to which all parts of the text apply: a strategy, ``rank=4``, ``lr=1e-3``.

    Args:
        arms: of a study.
        reference: the text.
        option: that it was given for, to name in errors.

    Raises:
        ConfigError: it means no arm, or several.
    """
    text = " ".join(reference.split())
    for meant in (_named, _hashed, _labelled, _described):
        found = [arm for arm in arms if meant(arm, text)]
        if len(found) == 1:
            return found[0]
        if found:
            names = sorted(arm.name for arm in found)
            raise ConfigError(
                f"{option}={reference} is {len(found)} arms: {', '.join(names)}; "
                f"name one in full, such as '{option}={names[0]}'"
            )
    names = sorted(arm.name for arm in arms)
    line = f"{option}={reference} is no arm; {allowed(reference, names)}"
    spaced = next((name for name in names if " " in name), None)
    raise ConfigError(line + (f"; with quotes, as in '{option}={spaced}'" if spaced else ""))


def _named(arm: Arm, text: str) -> bool:
    return arm.name == text


def _hashed(arm: Arm, text: str) -> bool:
    return HASH.fullmatch(text) is not None and arm.first.arm.startswith(text)


def _labelled(arm: Arm, text: str) -> bool:
    """Say whether it is what an experiment or an earlier report calls the arm."""
    former = {run.tags.get("arm_name") for run in (*arm.runs, *arm.lost)}
    return text in former | {arm.first.params.get("adapter.label"), arm.method}


def _described(arm: Arm, text: str) -> bool:
    """Say whether all parts of a text apply to the arm."""
    return all(_applies(arm, part) for part in _split(text))


def _applies(arm: Arm, part: str) -> bool:
    run = arm.first
    key, equals, value = part.partition("=")
    if not equals:
        heads = (arm.name.split(" ")[0], run.strategy, run.params.get("adapter.label"))
        return part in heads
    if part in _split(arm.name):
        return True
    candidates = [f"{group}{key}" for group in GROUPS]
    candidates += [f"{key}.name", f"{key}.kind"]  # a choice: optimizer=sgd, base=scratch
    told = [run.params.get(name) for name in candidates] + [run.tags.get(key)]
    return any(known is not None and equal(value, known) for known in told)


def _split(text: str) -> list[str]:
    """Cut a name into its parts, at spaces outside of brackets."""
    text = text.replace("from scratch", "base=scratch")
    return re.findall(r"(?:\[[^\]]*\]|\{[^}]*\}|\([^)]*\)|[^\s\[{(])+", text)
