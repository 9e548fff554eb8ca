"""What a command costs before it does anything, over `import torch`."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benching.rows import Race, Row, Side, whole
from benching.samples import SOURCE, Sample, process
from benching.setting import Setting

TORCH = "import torch"
COMMANDS = {
    "help": ("`--help`", ("--help",), 0, 0.5),
    "cfg": ("`--cfg job`", ("--cfg", "job"), 0, 0.25),
    "typo": ("a mistyped option", ("adapter.rnak=4",), 2, 0.25),
    "plan": ("`plan=true`", ("plan=true",), 0, 1.1),
}
"""Words, arguments, the exit code that is meant, and the most that is asked for."""


def _sides(setting: Setting) -> Mapping[str, Side]:
    def command(name: str) -> Sample:
        _, arguments, code, _ = COMMANDS[name]
        root = f"root={setting.folder / 'starts'}"
        program: list[str | Path] = [sys.executable, SOURCE / "train.py", root, *arguments]
        ask = partial(process, program, env=setting.env, cwd=setting.folder, allowed=code)
        setting.once(("start", name), ask)  # Python writes what it compiles
        return ask()

    commands = {words: name for name, (words, *_) in COMMANDS.items()}
    sides: dict[str, Side] = {
        words: lambda name=name: command(name)  # type: ignore[misc]
        for words, name in commands.items()
    }
    return {**sides, TORCH: setting.import_torch}


RACES = [Race("starts", "Commands that train nothing", _sides)]

ROWS = [
    Row(f"start_{name}", f"{words} over `import torch`", "starts", whole(words), whole(TORCH), most)
    for name, (words, _, _, most) in COMMANDS.items()
]
