"""A process of a benchmark that lives through all turns: a line asks for a turn of a side."""

import gc
import json
import sys
import time
from collections.abc import Callable

import taken


def answer(turn_of: Callable[..., Callable[[], object]]) -> None:
    """Answer what is asked line by line.

    Args:
        turn_of: of the words of a line returns what is timed; what it does itself is not.
    """
    told = sys.stdout
    sys.stdout = sys.stderr  # libraries may print
    for line in sys.stdin:
        turn = turn_of(*json.loads(line))
        gc.collect()
        before, start = taken.cpu(), time.perf_counter()
        turn()
        used, seconds = taken.cpu() - before, time.perf_counter() - start
        print(json.dumps({"cpu": used, "wall": seconds}), file=told, flush=True)
