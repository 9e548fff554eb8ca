"""Passwords in URIs stay in the process."""

import logging
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.table import Table

from adapterlab.app.console import console
from adapterlab.base import redaction
from adapterlab.base.errors import ConfigError
from adapterlab.base.output import Lines
from adapterlab.base.redaction import public, redacted, remember, shown
from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import RunFolder, read_config
from adapterlab.runs.identity import config_hash
from adapterlab.tracking.stores.uris import artifact_location
from lab import tiny

URIS = {
    "postgresql://me:s3cret@host:5432/db": "postgresql://me:***@host:5432/db",
    "postgresql://me:s3@cr/et@host/db?sslmode=require": "postgresql://me:***@host/db?sslmode=require",
    "postgresql://host/db?user=me&password=s3cret": "postgresql://host/db?user=me&password=***",
    "https://s3cret@host/path": "https://***@host/path",
    "https://host/x?access%5Ftoken=s3cret&page=2": "https://host/x?access%5Ftoken=***&page=2",
    "postgresql://me@host/db": "postgresql://me@host/db",
    "http://host:5000": "http://host:5000",
    "sqlite:////home/a:b@c/mlflow.db": "sqlite:////home/a:b@c/mlflow.db",
    "databricks://profile": "databricks://profile",
}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets of other tests, and those of each."""
    monkeypatch.setattr(redaction, "_known", set())


@pytest.mark.parametrize(("uri", "safe"), URIS.items())
def test_a_uri_without_its_secrets(uri: str, safe: str) -> None:
    assert redacted(f"tracking.uri={uri} cannot be used") == f"tracking.uri={safe} cannot be used"
    values = {"tracking": {"uri": uri, "enabled": True}, "told": [f"tracking.uri={uri}", 0.5]}
    clean = {"tracking": {"uri": safe, "enabled": True}, "told": [f"tracking.uri={safe}", 0.5]}
    assert public(values) == clean
    assert public(clean) == clean


def test_parts_that_a_driver_names_are_known() -> None:
    remember("postgresql://me:pass/w0rd%21@host/db")
    assert redacted("cannot read 'pass' as a port, nor w0rd! as a host") == (
        "cannot read '***' as a port, nor *** as a host"
    )


def test_a_line_is_one_line_without_control_characters() -> None:
    assert shown("a\nb\x1b]0;title\x07 \u202ec") == "a b ]0;title   c"


def test_names_tell_the_terminal_nothing() -> None:
    table = Table("\x1b]52;c;x\x07")
    table.add_row("\x1b[31mred\u202e")
    with console.capture() as captured:
        console.print(table)
        console.print("note: \x1b]0;title\x07\n\tindented", markup=False)
    assert not set("\x1b\x07\u202e") & set(captured.get())
    assert "indented" in captured.get()


def test_artifacts_are_nowhere_that_needs_a_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.artifacts=s3://key:\*\*\*@bucket holds a"):
        artifact_location(None, "s3://key:s3cret@bucket", tmp_path)


def test_log_lines_are_redacted() -> None:
    record = logging.LogRecord("x", 30, "x.py", 1, "lost %s", ("http://me:pw@host",), None)
    assert Lines("%(message)s").format(record) == "lost http://me:***@host"


def test_hydra_writes_without_secrets(tmp_path: Path) -> None:
    config = OmegaConf.create(
        {
            "uri": "postgresql://me:it's \"x@h/db",
            "same": "${uri}",
            "overrides": ["tracking.uri=http://me:s3cret@h"],
            "rate": 1e-3,
        }
    )
    OmegaConf.save(config, tmp_path / "multirun.yaml")
    text = (tmp_path / "multirun.yaml").read_text()
    assert OmegaConf.create(text) == {
        "uri": "postgresql://me:***@h/db",
        "same": "${uri}",
        "overrides": ["tracking.uri=http://me:***@h"],
        "rate": 1e-3,
    }
    assert "it's" in config.uri
    plain = OmegaConf.create({"a": {"b": [1, "x"]}, "c": "???"})
    assert OmegaConf.to_yaml(plain) == "a:\n  b:\n  - 1\n  - x\nc: ???\n"


def secretive(root: Path) -> Config:
    return tiny(root, "tracking=mlflow", "tracking.uri='postgresql://me:s3cret@nowhere/db'")


def test_a_config_is_written_without_them_and_is_the_same_run(tmp_path: Path) -> None:
    config = secretive(tmp_path)
    assert config.tracking.uri == "postgresql://me:s3cret@nowhere/db"
    folder = RunFolder.of(config)
    folder.path.mkdir(parents=True)
    folder.start(config, "data", keep=True)
    assert "s3cret" not in folder.config.read_text()
    assert config_hash(read_config(folder.config)) == config_hash(config)


def test_variables_of_the_environment_do_not_get_into_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN", "PGPASSWORD"):
        monkeypatch.setenv(name, "s3cret")
    assert "s3cret" not in str(tiny(tmp_path))
