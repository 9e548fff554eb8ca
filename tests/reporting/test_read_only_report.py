"""A report on a root that may only be read: all is said, and that nothing was written too."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import adapterlab
from adapterlab.app import cli
from adapterlab.base.files import NOT_WRITABLE
from adapterlab.base.redaction import without_password
from adapterlab.reporting import report as reports
from adapterlab.reporting.report import _cache
from adapterlab.tracking.client import connect
from lab import Outcome

METRICS = {"params/trainable": 1234.0, "test/accuracy": 0.5, "best/val_accuracy": 0.5}


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have no folder of the report made, for this reason."""

    def refusing(number: int) -> None:
        def draw(_: Any, folder: Path) -> None:
            raise OSError(number, os.strerror(number), str(folder))

        monkeypatch.setattr(reports, "_draw", draw)

    return refusing


def store(root: Path) -> None:
    client = connect(None, root / "mlruns")
    if client.get_experiment_by_name("adapterlab") is not None:
        return
    experiment = client.create_experiment("adapterlab")
    for arm in "ab":
        tags = {"study": "s", "kind": "run", "arm": arm, "seed": "0", "strategy": arm}
        run_id = client.create_run(experiment, tags=tags).info.run_id
        for name, value in METRICS.items():
            client.log_metric(run_id, name, value)
        client.set_terminated(run_id)


@pytest.mark.parametrize("number", NOT_WRITABLE)
def test_the_verdict_is_printed(
    number: int, tmp_path: Path, refuse: Callable[[int], None], run_cli: Callable[..., Outcome]
) -> None:
    store(tmp_path)
    refuse(number)
    outcome = run_cli("study=s", program=cli.report)
    assert outcome.code == 0, outcome
    assert "Which arm is best is not known." in outcome.out
    folder = tmp_path / "mlruns" / "reports" / "s"
    assert f"nothing was written: {folder} may only be read ({os.strerror(number)})" in outcome.out
    assert f"tracking_uri=sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'} " in outcome.out
    assert "report.html" not in outcome.out
    assert "error:" not in outcome.err
    assert not folder.exists()
    with pytest.warns(UserWarning, match="nothing was written: .* with root=FOLDER tracking_uri="):
        assert adapterlab.study("s", root=tmp_path).report().html is None


def test_a_full_disk_is_another_matter(
    tmp_path: Path, refuse: Callable[[int], None], run_cli: Callable[..., Outcome]
) -> None:
    store(tmp_path)
    refuse(errno.ENOSPC)
    outcome = run_cli("study=s", program=cli.report)
    assert outcome.code != 0
    assert "nothing was written" not in outcome.out


def test_folds_are_put_together_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _cache(tmp_path / "mlruns") == tmp_path / "mlruns" / "cache"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    place = _cache(tmp_path / "mlruns")
    assert place.is_dir()
    assert not place.is_relative_to(tmp_path / "mlruns")


@pytest.mark.parametrize("uri", ["sqlite:////a/b.db", "sqlite:///a.db", "file:///x"])
def test_the_address_of_a_file_stays_what_it_is(uri: str) -> None:
    assert without_password(uri) == uri
