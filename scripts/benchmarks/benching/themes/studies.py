"""What is done with a study that has finished."""

from collections.abc import Mapping

from benching.rows import Race, Row, Side, whole
from benching.setting import Setting
from benching.themes.lanes import PACKED, TINY, seeds

RESUME, REPORT = "resume=true", "report.py"
RUNS = 200


def _sides(setting: Setting) -> Mapping[str, Side]:
    count = RUNS if setting.limit is None else 4
    own = (*TINY, *setting.base("digits"))
    command = (
        *own,
        "adapter.rank=2,4",
        seeds(count // 2),
        *PACKED,
        "study=finished",
        "baseline=never",
    )

    setting.once("finished", lambda: setting.train("finished", *command, "figures=never"))
    again = (*command, "figures=never", "resume=true")
    return {
        RESUME: lambda: setting.train("finished", *again),
        REPORT: lambda: setting.script(REPORT, "finished", "finished"),
    }


RACES = [Race("finished", f"A study of {RUNS} tiny runs that has finished", _sides)]

ROWS = [
    Row(
        "resume",
        f"Resume of a finished study of {RUNS} runs over its report",
        "finished",
        whole(RESUME),
        whole(REPORT),
        0.5,
        "`report=false`: the command finds all done, and makes no report at its end.",
    )
]
