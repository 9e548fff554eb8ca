"""Run a command, and write down what it took: python starter.py TO.json COMMAND...

The kernel counts as the peak of a process's memory also that of the process that started it, up to
its first instruction. So what is measured is started by this one, which is small.
"""

import json
import os
import signal
import subprocess
import sys
import time


def main() -> None:
    to, *command = sys.argv[1:]
    start = time.perf_counter()
    running = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: running.kill())
    _, status, used = os.wait4(running.pid, 0)
    seconds = time.perf_counter() - start
    running.returncode = os.waitstatus_to_exitcode(status)
    # The kernel's unit: kilobytes on Linux, bytes on macOS.
    mib = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    with open(to, "w") as file:  # noqa: PTH123  # pathlib is larger than all of this
        json.dump({"cpu": used.ru_utime + used.ru_stime, "wall": seconds, "mib": mib}, file)
    sys.exit(running.returncode if running.returncode >= 0 else 128 - running.returncode)


main()
