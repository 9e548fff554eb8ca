"""Which state of this code a run was made with."""

import subprocess
from functools import cache
from pathlib import Path


@cache
def git_commit() -> str | None:
    """Return the commit that this code is at, with ``+`` when files differ; None outside git.

    Asked once a process: what was loaded is what computes, whatever becomes of the files.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # An installed wheel may lie in some other project's checkout.
        own = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True)
        if own.returncode != 0:
            return None
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
        )
    except OSError:
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def source_tags() -> dict[str, str]:
    """Return the tags by which MLflow shows what made a run; without a name it shows nothing."""
    tags = {"mlflow.source.name": "adapterlab-train", "mlflow.source.type": "LOCAL"}
    commit = git_commit()
    if commit is not None:
        tags |= {"git_commit": commit, "mlflow.source.git.commit": commit.rstrip("+")}
    return tags
