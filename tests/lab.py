"""What the tests of whole runs share: small configurations, and the command line in process."""

import logging
import os
import pickle
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adapterlab.app import cli
from adapterlab.config import conf_folder
from adapterlab.config.hardware import Hardware
from adapterlab.config.hydra_versions import composing
from adapterlab.config.parsing import parse
from adapterlab.config.schema import Config

CHECKOUT = Path(cli.__file__).parents[3]

TINY = (
    "limit=96",
    "epochs=2",
    "base.epochs=2",
    "optimizer.lr=0.01",
    "hardware=cpu",
    "hardware.threads=1",
    "hardware.precision=32-true",
    "baseline=never",
    "tracking=none",
)
"""A run of a fraction of a second."""

ONE_PROCESS = {"basic": (), "packed": ("hydra.launcher.processes=1",)}
"""Options of launchers where a study is not about processes: to start one takes five seconds."""

ONE_THREAD = Hardware(
    accelerator="cpu",
    device=0,
    precision="auto",
    workers=0,
    threads=1,
    compile=False,
    frozen_prefix="auto",
    prefix_gib=1.0,
)
"""Where saved runs are evaluated again."""


@dataclass(frozen=True)
class Outcome:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that a user's mistake gets, without ``error: ``."""
        assert self.code == cli.USER_ERROR, self
        (line,) = self.err.splitlines()
        assert line.startswith("error: "), line
        return line.removeprefix("error: ")


def compose(root: Path, *overrides: str, config_name: str = "train") -> Config:
    """Compose a configuration as the command line does, and check it."""
    conf_folder.register_resolvers()
    config = _composed(config_name, overrides)
    config.root = str(root)
    return parse(config)


def _composed(config_name: str, overrides: tuple[str, ...]) -> DictConfig:
    """Compose once what many tests begin from, under any root; nothing in it is resolved yet."""
    config: DictConfig = pickle.loads(_pickled(config_name, overrides))
    return config


@lru_cache(maxsize=1000)
def _pickled(config_name: str, overrides: tuple[str, ...]) -> bytes:
    """Compose: it is kept as bytes, of which a copy takes a quarter of the time of a deep one.

    Hydra, which takes a tenth of a second, is asked once for each choice of groups. Values are set
    in what it composed, by its own parser, as it does itself; what that refuses is asked of Hydra.
    """
    values = [override for override in overrides if sets_a_value(override)]
    groups = tuple(override for override in overrides if not sets_a_value(override))
    config = composed_by_hydra(config_name, groups)
    try:
        for parsed in OverridesParser.create().parse_overrides(values):
            if parsed.is_sweep_override():
                return _pickled_by_hydra(config_name, overrides)
            OmegaConf.update(config, parsed.key_or_group, parsed.value(), merge=True)
    except (HydraException, OmegaConfBaseException):
        return _pickled_by_hydra(config_name, overrides)
    return pickle.dumps(config)


def composed_by_hydra(config_name: str, overrides: tuple[str, ...]) -> DictConfig:
    config: DictConfig = pickle.loads(_pickled_by_hydra(config_name, overrides))
    return config


@lru_cache(maxsize=200)
def _pickled_by_hydra(config_name: str, overrides: tuple[str, ...]) -> bytes:
    with composing(conf_folder.CONF):
        return pickle.dumps(hydra.compose(config_name, [*overrides]))


def sets_a_value(override: str) -> bool:
    """Say whether an override is a plain ``option=value``, of no group."""
    key, sign, _ = override.partition("=")
    plain = re.fullmatch(r"[a-z_]+(\.\w+)*", key) is not None
    return bool(sign) and plain and not (conf_folder.CONF / key).is_dir()


def tiny(root: Path, *overrides: str) -> Config:
    """Compose a run of a fraction of a second; a later override wins over `TINY`."""
    chosen = {override.partition("=")[0] for override in overrides}
    if {f"base={kind}" for kind in ("scratch", "checkpoint", "pretrained", "peft")} & set(
        overrides
    ):
        chosen.add("base.epochs")
    kept = [override for override in TINY if override.partition("=")[0] not in chosen]
    return compose(root, *kept, *overrides)


@contextmanager
def as_program(root: Path, *arguments: str) -> Iterator[None]:
    """Let `cli.train` and its siblings find themselves on a fresh command line."""
    logger = logging.getLogger("adapterlab")
    before = logger.handlers, logger.level, logger.propagate
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("ADAPTERLAB_ROOT", str(root))
        patch.delenv("ADAPTERLAB_DATA_DIR", raising=False)
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setenv("MPLCONFIGDIR", str(root / "mlruns" / "cache" / "matplotlib"))
        patch.setattr(sys, "argv", ["adapterlab", *arguments])
        GlobalHydra.instance().clear()
        warnings.simplefilter("ignore", DeprecationWarning)  # as Python does outside of pytest
        try:
            yield
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            logger.handlers, logger.level, logger.propagate = before
            for number, handler in handlers.items():
                signal.signal(number, handler)


def environment(root: Path, **more: str) -> dict[str, str]:
    """Return the environment of a real process that keeps its runs in `root`."""
    inherited = {k: v for k, v in os.environ.items() if k != "ADAPTERLAB_DATA_DIR"}
    return inherited | {"ADAPTERLAB_ROOT": str(root), "OMP_NUM_THREADS": "1"} | more


def process(root: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python src/train.py`` for real, from the folder `cwd`."""
    return subprocess.run(
        [sys.executable, str(CHECKOUT / "src" / "train.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(root),
        timeout=120,
    )


def alone_in_a_fork() -> None:
    """Be no part of the tests, in a process that was forked from one that has loaded everything."""
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    torch.set_num_threads(1)


@contextmanager
def mlflow_process(root: Path, *arguments: str, cwd: Path) -> Iterator[str]:
    """Run one of MLflow's servers on a free port of the loopback address; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", *arguments, "--workers", "1"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where uvicorn is
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=cwd,
        env=environment(root, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", PATH=path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while not _answers(uri):
            assert process.poll() is None, "the server stopped"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.2)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@contextmanager
def patient() -> Iterator[None]:
    """Wait for a server that is there, however busy the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
        patch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
        yield


def _answers(uri: str, path: str = "health") -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/{path}", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def write_idx(folder: Path, seed: int) -> None:
    """Write 120 images of a torchvision data set, and their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    for split in ("train", "t10k"):
        images = draw.integers(0, 256, (120, 28, 28), dtype=np.uint8)
        labels = (np.arange(120) % 10).astype(np.uint8)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 2051, *images.shape) + images.tobytes()
        )
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, 120) + labels.tobytes()
        )
