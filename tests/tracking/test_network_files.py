"""A sqlite store on a network file system: found by the mounts, and refused before training."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from adapterlab.base.errors import AdapterLabError
from adapterlab.tracking import client
from adapterlab.tracking.stores import network_files
from adapterlab.tracking.stores.network_files import GO_ON, file_system
from lab import TINY, Outcome

MOUNTS = """\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
30 22 0:26 / /proc rw,nosuid - proc proc rw
40 22 0:45 / /home rw,relatime shared:20 master:3 - nfs4 fs:/export/home rw,vers=4.2,hard
41 40 0:46 / /home/me/scratch rw - tmpfs tmpfs rw
42 22 0:47 / /mnt/my\\040disk rw - cifs //host/share rw
43 22 0:48 / /lustre rw - lustre 10.0.0.1@tcp:/fs rw
44 22 0:49 / /over rw - nfs4 fs:/over rw
45 22 0:50 / /over rw - xfs /dev/sdb rw
46 22 0:51 / /gpfs rw - gpfs gpfs rw
47 22 0:52 / /bee rw - beegfs beegfs_nodev rw
48 22 0:53 / /ssh rw - fuse.sshfs host:/x rw
a line that is cut
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/home/me/mlruns/mlflow.db", "nfs4"),
        ("/home/me/scratch/mlflow.db", "tmpfs"),
        ("/homes/mlflow.db", "ext4"),
        ("/mnt/my disk/mlflow.db", "cifs"),
        ("/lustre/a/b", "lustre"),
        ("/over/mlflow.db", "xfs"),
        ("/gpfs/x", "gpfs"),
        ("/bee/x", "beegfs"),
        ("/ssh/x", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_file(place: str, kind: str) -> None:
    assert file_system(MOUNTS, PurePosixPath(place)) == kind
    assert (kind in network_files.NETWORKED) == (kind not in ("tmpfs", "ext4", "xfs"))


def test_no_mount_has_it() -> None:
    assert file_system("", PurePosixPath("/a")) is None


@pytest.fixture
def networked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root that is on a network file system, as far as the mounts say."""
    mounts = tmp_path / "mountinfo"
    root = tmp_path / "root"
    mounts.write_text(f"{MOUNTS}50 22 0:60 / {root} rw - nfs4 fs:/root rw\n")
    monkeypatch.setattr(network_files, "_MOUNTS", mounts)
    monkeypatch.delenv(GO_ON, raising=False)
    return root


def test_it_is_refused_before_training(networked: Path, run_cli: Callable[..., Outcome]) -> None:
    options = [option for option in TINY if option != "tracking=none"]
    said = run_cli(*options, root=networked).error
    assert f"{networked}/mlruns/mlflow.db is a sqlite file on a network file system (nfs4)" in said
    assert "tracking.uri" in said
    assert f"{GO_ON}=yes" in said
    assert not (networked / "mlruns" / "mlflow.db").exists()


def test_it_may_be_gone_on_with(networked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AdapterLabError, match="nfs4"):
        client.connect(None, networked / "mlruns")
    monkeypatch.setenv(GO_ON, "yes")
    client.connect(None, networked / "mlruns")
    assert (networked / "mlruns" / "mlflow.db").exists()
