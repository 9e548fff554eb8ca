"""Command lines with something wrong in them are carried out, or refused in one line.

A valid command line of one of the programs is taken, and one thing or two in it are made wrong.
It holds if it gets as far as its training (or report, ...) with exit code 0, or is refused by one
line that begins with ``error: ``, after which nothing comes; without a traceback, within a minute,
and within a limit of memory.
"""

import re
from collections.abc import Iterator

from faults.command_lines import MUTATIONS, Line, lines, made, mutated, with_a_study
from faults.trying import TRACEBACK, Ended, Setting, Trial
from faults.untrained import ACCEPTED, TIMED_OUT, untrained

COUNT = 500

_HYDRA = ("HYDRA_FULL_ERROR", "Error executing job", "full_key:", "object_type=")
_LONGEST = 2_000


def tries(setting: Setting) -> Iterator[Trial]:
    """Mutate command lines of all programs, each kind of mutation as often."""
    root = made(setting.folder / "root")
    right = lines(with_a_study(root))
    names = list(MUTATIONS)
    with untrained(setting.folder) as process:
        for number in range(setting.count):
            mutation = names[number % len(names)]
            line = mutated(setting.rng, setting.rng.choice(right), mutation)
            ended = process.command(root, *line.arguments, script=line.script)
            yield judged(mutation, line, ended)


def judged(mutation: str, line: Line, ended: Ended) -> Trial:
    """Say whether a command was carried out or refused as it should."""
    wrong = complaint(ended)
    if wrong is None:
        refused = ended.code != 0
        return Trial(mutation, True, "one line" if refused else "accepted, as it means something")
    return Trial(mutation, False, f"{wrong}: {line}")


def complaint(ended: Ended) -> str | None:
    """Return what is wrong with how a command ended; None if nothing is."""
    printed = ended.err.splitlines()
    last = printed[-1][:300] if printed else ""
    if ended.code == TIMED_OUT:
        return "it takes more than a minute"
    if ended.code < 0:
        return f"killed by signal {-ended.code}"
    if TRACEBACK in ended.out + ended.err:
        return f"a traceback: {last}"
    if any(text in ended.err for text in _HYDRA):
        return f"Hydra's own words: {last}"
    errors = [number for number, text in enumerate(printed) if text.startswith("error: ")]
    if ended.code == 0:
        return f"accepted with an error: {printed[errors[0]]}" if errors else None
    if "more than the promised" in ended.out:  # a self-check may fail
        return None
    if not errors:
        return f"exit {ended.code} without an error line: {last}"
    if len(errors) > 1 or errors[0] != len(printed) - 1:
        return f"not one line: {' / '.join(printed[errors[0] :])[:300]}"
    if ACCEPTED in ended.out or re.search(r"[│┃]", ended.out):
        return f"refused after it was carried out: {last}"
    if len(last) > _LONGEST:
        return f"an error of {len(last)} characters"
    if re.search(r"[\x00-\x08\x0b-\x1f]", last):
        return f"control characters in {last!r}"
    return None
