"""A Slurm of one node for the tests of clusters."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from lab import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "dev" / "slurm.sh"


def missing() -> str | None:
    """Say why there can be no Slurm here."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    gone = [name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name, path=path)]
    if gone:
        return f"Slurm is not installed: no {', '.join(gone)} (slurm-wlm and munge of Debian)"
    return "Slurm's daemons are started by root only here" if os.geteuid() else None


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Slurm of one node; the variable that its commands find it by."""
    if (why := missing()) is not None:
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("slurm")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)  # munge wants a socket that all can reach
    said = subprocess.run([SCRIPT, "start", folder / "one"], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    try:
        name, _, value = said.stdout.strip().removeprefix("export ").partition("=")
        yield {name: value}
    finally:
        subprocess.run([SCRIPT, "stop", folder / "one"], check=True)
