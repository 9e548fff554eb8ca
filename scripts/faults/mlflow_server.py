"""A real MLflow server, which can be stopped, killed, held and started again at its address."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


class Server:
    """One `mlflow server` with a store and artifacts of its own.

    Args:
        folder: for its store and its files; what it has outlives its processes.
        store: URI of its database; None for a file in the folder.
        workers: processes that answer.
    """

    def __init__(self, folder: Path, store: str | None = None, workers: int = 1) -> None:
        self.folder, self.workers = folder, workers
        self.store = store or f"sqlite:///{folder / 'mlflow.db'}"
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> int | None:
        """The process that its workers are children of; None while it is stopped."""
        return None if self._process is None else self._process.pid

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, timeout: float = 180) -> None:
        """Start it, and wait until it answers.

        Raises:
            TimeoutError: it does not.
        """
        options = [
            *("--backend-store-uri", self.store),
            *("--artifacts-destination", str(self.folder / "artifacts")),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--workers", str(self.workers)),
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options],
            cwd=self.folder,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError("mlflow server does not start")
            time.sleep(0.2)

    def send(self, number: int) -> None:
        """Send a signal to all of its processes."""
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal, and wait until it is gone."""
        if self._process is None:
            return
        self.send(number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False
