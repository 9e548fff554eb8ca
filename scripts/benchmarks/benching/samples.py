"""What one turn of one side took, and how a process is measured from outside."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SIDES = Path(__file__).resolve().parents[1] / "sides"
SOURCE = Path(__file__).resolve().parents[3] / "src"
TOLD = "ADAPTERLAB_BENCH_TOLD"

WHOLE = ("cpu", "wall", "mib")
TRAINING = ("training_cpu", "training_wall", "training_mib")
_TOLD_LINES = 3


class SideError(Exception):
    """A side ended early: what it said last."""


@dataclass(frozen=True)
class Sample:
    """What a turn took.

    Attributes:
        values: by name. Of a whole process ``cpu`` (seconds, user and system, children counted),
            ``wall`` (seconds), ``mib`` (peak of resident memory, of its largest process); of its
            training ``training_cpu``, ``training_wall``, ``training_mib``; and what else it told.
    """

    values: Mapping[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        if name not in self.values:
            raise SideError(f"it told no {name}, but {', '.join(self.values) or 'nothing'}")
        return self.values[name]


def process(
    command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, allowed: int = 0
) -> Sample:
    """Run a command and measure the whole of it, with all processes that it waits for.

    Args:
        command: what to run.
        env: its environment.
        cwd: its working folder.
        allowed: the exit code that is meant; a mistyped option ends with another than 0.

    Raises:
        SideError: it ended with another code.
    """
    with tempfile.TemporaryDirectory(prefix="adapterlab-told-") as folder:
        told, took, said = (Path(folder) / name for name in ("told", "took", "said"))
        starter = [sys.executable, "-I", "-S", SIDES / "starter.py", took]
        with said.open("wb") as output:
            running = subprocess.Popen(
                [str(part) for part in (*starter, *command)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**env, TOLD: str(told)},
                cwd=cwd,
            )
            try:
                code = running.wait()
            except BaseException:
                running.terminate()
                running.wait()
                raise
        if code != allowed:
            lines = said.read_text(errors="replace").strip().splitlines()[-_TOLD_LINES:]
            raise SideError(f"exit code {code}: {' / '.join(lines) or 'it said nothing'}")
        values = json.loads(told.read_text()) if told.is_file() else {}
        whole = json.loads(took.read_text())
    # What a process forgot of its own peak, it has told.
    whole["mib"] = max(whole["mib"], values.pop("whole_mib", 0.0))
    return Sample({**whole, **values})


class Living:
    """A program that lives through all turns of a race; see `sides/asked.py`."""

    def __init__(self, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long as the program
        self.running = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            env=dict(env),
            text=True,
        )

    def ask(self, *words: str) -> Sample:
        """Ask for a turn.

        Raises:
            SideError: the program has ended.
        """
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        try:
            print(json.dumps(words), file=self.running.stdin, flush=True)
            line = self.running.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.said.seek(0)
            raise SideError(" / ".join(self.said.read().strip().splitlines()[-_TOLD_LINES:]))
        return Sample(json.loads(line))

    def end(self) -> None:
        """Let the program end."""
        if self.running.stdin is not None:
            self.running.stdin.close()
        self.running.wait()
        self.said.close()
