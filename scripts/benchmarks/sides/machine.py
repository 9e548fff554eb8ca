"""Write the fingerprint of this machine as JSON: no name of it, no path on it.

python scripts/benchmarks/sides/machine.py TO.json
"""

import json
import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from adapterlab.base.revision import git_commit
from adapterlab.training.hardware import fingerprint

FLAGS = (
    *("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_bf16", "neon", "asimd", "bf16", "sve"),
)
PEERS = ("peft", "transformers", "accelerate", "pytorch-lightning", "torchmetrics", "mlflow")


def flags() -> list[str]:
    """Return the processor's flags that decide how fast products are."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    here = set(found[1].split()) if found else set()
    return [flag for flag in FLAGS if flag in here]


def versions() -> dict[str, str]:
    """Return the versions of what is compared with."""
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    facts = fingerprint()
    decisive = ("cpu", "accelerator", "cores", "threads", "cpu_capability", "torch", "python")
    told = {
        **{name: facts[name] for name in decisive if name in facts},
        "flags": flags(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "system": platform.system(),
        "versions": versions(),
        "commit": git_commit(),
        "torch_build": facts["torch_build"],
    }
    if torch.cuda.is_available():
        told["cuda"] = torch.version.cuda
    Path(sys.argv[1]).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
