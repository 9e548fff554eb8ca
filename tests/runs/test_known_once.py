"""What MLflow has of a run that goes on is asked once, and what is sent meanwhile is not missed."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.config.schema import Config
from adapterlab.runs import lifecycle, single
from adapterlab.runs.folders import undelivered
from adapterlab.runs.folders.abandoned import REPORTED
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.tracking.servers.journal import Address, Journal
from adapterlab.tracking.stores.uris import default_uri
from lab import tiny
from power_cuts import cut_in

pytestmark = pytest.mark.usefixtures("no_pictures")


def configured(root: Path, *more: str) -> Config:
    return tiny(
        root, "tracking=mlflow", "base=scratch", "adapter=head", "study=known", "limit=32", *more
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Of which MLflow runs it was asked what there is."""
    ids: list[str | None] = []
    real = undelivered.known_of

    def known_of(config: Config, folder: RunFolder, run_id: str | None) -> undelivered.Known:
        ids.append(run_id)
        return real(config, folder, run_id)

    monkeypatch.setattr(lifecycle, "known_of", known_of)
    return ids


@pytest.mark.parametrize("left", ["its run", "a deleted run", "nothing"])
def test_it_is_asked_once(left: str, tmp_path: Path, asked: list[str | None]) -> None:
    if left != "nothing":
        cut_in(configured(tmp_path, "epochs=3"), 2, reported=True)
        assert not asked  # a run that starts anew has nothing
    client = MlflowClient(default_uri(tmp_path / "mlruns"))
    before = RunFolder.of(configured(tmp_path, "epochs=3")).link.run_id()
    if left == "a deleted run":
        client.delete_run(str(before))
    result = single.run(configured(tmp_path, "epochs=3", "resume=true"))
    assert asked == [result.run_id]
    assert (result.run_id == before) == (left == "its run")
    points = client.get_metric_history(str(result.run_id), REPORTED)
    assert [point.step for point in points] == [1, 2, 3]  # each once, whichever run has them


def test_what_is_sent_while_it_is_asked_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path, "tracking.uri=http://127.0.0.1:9")
    folder = RunFolder.of(config)
    journal = Journal(folder.path, Address("1", "http://127.0.0.1:9", "one"))
    journal.write({"what": "log", "step": 4, "metrics": {REPORTED: 0.5}})

    class Client:
        def get_run(self, run_id: str) -> Any:
            run = MlflowClient(default_uri(tmp_path / "mlruns")).create_run("0")
            journal.took(1)  # the courier was here, after this answer was made
            return run

    monkeypatch.setattr(undelivered, "connect", lambda *_: Client())
    assert undelivered.known_of(config, folder, "1").epochs == {4}
