"""Which state of this code a run was made with, and which versions of the libraries under it."""

import hashlib
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    *("adapterlab", "transformers", "tokenizers", "peft", "safetensors", "numpy", "scikit-learn"),
)
"""Packages whose versions are recorded; those of torch and Lightning are with the hardware's."""


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


@cache
def version_of(package: str) -> str:
    """Return the installed version of a package, from its metadata, which are read once a process.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    return version(package)


@cache
def version_tags() -> dict[str, str]:
    """Return the tags that say which code and which libraries a run is made with.

    `code_hash` is of the files of this package, so that it tells edits of one commit apart, and
    installed copies.
    """
    tags = {"code_hash": _code_hash()}
    for name in LIBRARIES:
        try:
            tags[f"version.{name}"] = version_of(name)
        except PackageNotFoundError:  # one that comes with an extra
            continue
    return tags


def _code_hash() -> str:
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:12]
