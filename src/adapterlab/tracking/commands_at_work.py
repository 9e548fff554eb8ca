"""Which commands are at a study, so that its run is RUNNING while any is, and ends as they did.

Each command has a tag of its own on the study's run, of which no other writes: what it is called
while it is at work, and how it ended once it has. The last to end takes all of them away, and gives
the run the worst of what they came to.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapterlab.base.process_identity import (
    PROCESS_TAG,
    is_elsewhere,
    is_gone,
    may_be_at_work,
    number_here,
    this_process,
)
from adapterlab.tracking.searching import searched
from adapterlab.tracking.servers.errors import unless_gone
from adapterlab.tracking.tuning_tags import PRUNED, trial

MULTIRUN_TAG = "multirun"
"""Of a study's run: the multirun that carries it out, or did so last."""

PREFIX = "multirun."
"""What the tags of commands begin with."""

_WORST_FIRST = ("FAILED", "KILLED", "FINISHED")


@dataclass(frozen=True)
class Command:
    """A command that is at a study, or was while another still is.

    Attributes:
        name: of the multirun; of a run that was started by itself, of the same form.
        status: that it ended with; None if it has not said so.
    """

    name: str
    status: str | None = None

    @property
    def began(self) -> int:
        """When it began, in milliseconds since 1970."""
        return int(self.name.partition("-")[0])

    @property
    def is_multirun(self) -> bool:
        """Whether it may begin more runs."""
        return "." not in self.name.split("-", 2)[1]

    @property
    def process(self) -> str:
        """Which carries it out."""
        return self.name.split("-", 2)[-1]


def own_tag(multirun: str) -> str:
    """Return the name of a command's tag."""
    return f"{PREFIX}{multirun.split('-', 2)[1]}"


def alone(began: int, process: str | None = None) -> str:
    """Return the name of a command that is one run, in the form of a multirun's.

    Args:
        began: in milliseconds since 1970.
        process: that carries it out; None for this one.
    """
    process = process or this_process()
    return f"{began}-{process.replace('-', '.')}-{process}"


def commands(tags: Mapping[str, str]) -> dict[str, Command]:
    """Return what the tags of a study's run say of commands, by the names of their tags."""
    found = {}
    for key, value in tags.items():
        if key.startswith(PREFIX):
            name, _, status = value.partition(" ")
            if name.partition("-")[0].isdigit():
                found[key] = Command(name, status or None)
    return found


def at_work(tags: Mapping[str, str]) -> list[Command]:
    """Return the commands of a study that have not ended, as far as that can be known from here."""
    known = commands(tags).values()
    return [one for one in known if not one.status and not is_gone(one.process)]


def end_command(client: Any, run_id: str, command: str, status: str, at: int | None = None) -> None:
    """Write down how a command has ended; end the study's run if no other is at it.

    What failed since the first of them began counts, whoever carried it out; what a pruner stopped
    has not failed. Of two that end at
    once each writes before it reads, so that one at least sees both.

    Args:
        client: an MLflow client.
        run_id: of the study's run.
        command: its name.
        status: that it ended with; FINISHED becomes FAILED where runs of the study have failed.
        at: when it ended, in milliseconds; None for now.
    """
    client.set_tag(run_id, own_tag(command), f"{command} {status}")
    run = client.get_run(run_id)
    if not _others(client, run):
        _close(client, run, at)
        if _others(client, client.get_run(run_id)):  # it has begun in between
            client.update_run(run_id, status="RUNNING")


def settle_left(client: Any, run: Any) -> bool:
    """End a study's run that its last command has left, if others have said how they ended.

    Returns:
        Whether that is all there is to do: a command is at it, or it was ended.
    """
    if any(number_here(one.process) == os.getpid() for one in at_work(run.data.tags)):
        return True
    if _others(client, run):
        return True
    if not any(one.status for one in commands(run.data.tags).values()):
        return False
    _close(client, run, None)
    return True


def _others(client: Any, run: Any) -> bool:
    """Say whether a command is at work, of this process aside.

    Of a command of another host it is not known whether it has ended. While a run of the study goes
    on on another host it counts, and not for ever after somebody has killed it there.
    """
    open_ = [one for one in at_work(run.data.tags) if may_be_at_work(one.process)]
    if not open_ or any(not is_elsewhere(one.process) for one in open_):
        return bool(open_)
    going = _children(client, run, "attributes.status = 'RUNNING'")
    return any(is_elsewhere(child.data.tags.get(PROCESS_TAG)) for child in going)


def _close(client: Any, run: Any, at: int | None) -> None:
    """Give a study's run the worst status that its commands have ended with, and forget them."""
    known, run_id = commands(run.data.tags), run.info.run_id
    ended = [one for one in known.values() if one.status is not None]
    status = min((str(one.status) for one in ended), key=_WORST_FIRST.index)
    if status == "FINISHED":
        since = min(one.began for one in ended)
        lost = f"attributes.status != 'FINISHED' and attributes.end_time >= {since}"
        # Pruned ones end as KILLED, and have not failed.
        if any(trial(PRUNED) not in child.data.tags for child in _children(client, run, lost)):
            status = "FAILED"
    client.set_terminated(run_id, status, at)
    for key in known:
        with unless_gone():  # another machine may have done it
            client.delete_tag(run_id, key)


def _children(client: Any, run: Any, what: str) -> Iterator[Any]:
    """Yield runs of a study, but for its own, which has the end of an earlier command."""
    study = json.dumps(run.data.tags["study"])
    query = f"tags.study = {study} and tags.kind != 'study' and {what}"
    return searched(client, run.info.experiment_id, query)
