"""The data of a study's runs, read once."""

from collections.abc import Iterable

from adapterlab.config.schema import Config
from adapterlab.runs.data import RunData, load_data
from adapterlab.tracking.shared_entries import sharing


def data_key(config: Config) -> str:
    """Return what decides which files a run reads."""
    return repr((config.dataset, config.source, config.data_dir, config.root))


class ReadOnce:
    """The data of runs, read once for all that read the same."""

    def __init__(self) -> None:
        self._read: dict[str, RunData] = {}

    def __call__(self, config: Config) -> RunData:
        """Return the data of a run."""
        key = data_key(config)
        if key not in self._read:
            with sharing(config):
                self._read[key] = load_data(config)
        return self._read[key]

    def read_all(self, configs: Iterable[Config]) -> None:
        """Read the data of several runs."""
        for config in configs:
            self(config)

    def if_read(self, config: Config) -> RunData | None:
        """Return the data of a run; None if they have not been read."""
        return self._read.get(data_key(config))
