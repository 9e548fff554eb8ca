"""Which folder a run has, once its data are known.

The hash of a configuration is known before any data are read, and names a run's folder. Two runs of
one hash compute something else where they read something else: from another `data_dir`, or from
files that have changed. The first keeps the folder of that name; what reads other data has a folder
beside it, whose name ends with the hash of these data.
"""

import contextlib
import glob
import hashlib
import os
from dataclasses import replace
from pathlib import Path

from adapterlab.base.errors import ConfigError
from adapterlab.base.files import own_number, write_text
from adapterlab.config.own_data import is_own
from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import RunFolder, read_config
from adapterlab.runs.identity import config_hash, former_hash, former_name, run_name


def home_of(config: Config, data_hash: str) -> RunFolder:
    """Return the folder of a run on its data, and keep that folder for it.

    Several processes at once get the same folder for the same data, and different ones for
    different data.

    Args:
        config: of the run.
        data_hash: of the data that it reads (`loading.RunData.hash`).
    """
    home = known_home(config, data_hash)
    if home is None:
        plain = RunFolder.of(config)
        home = plain if _taken(plain, data_hash) else _other(plain, data_hash)
        _taken(home, data_hash)
    _point(config, home)
    return home


def known_home(config: Config, data_hash: str) -> RunFolder | None:
    """Return the folder that a run on these data has; None if it has none yet."""
    plain = RunFolder.of(config)
    for home in (plain, _other(plain, data_hash)):
        if home.same_data(data_hash):
            return home
    former = _former(config)  # which takes longer to name
    return former if former.same_data(data_hash) else None


def latest_home(config: Config) -> RunFolder:
    """Return the folder that a run from this `data_dir` had last, without reading its data."""
    plain = RunFolder.of(config)
    with contextlib.suppress(OSError):
        home = plain.path.with_name(_pointer(config).read_text())
        if home.is_dir():
            return RunFolder(home)
    return _former(config) if not plain.path.is_dir() else plain


def homes(config: Config) -> list[RunFolder]:
    """Return all folders of a configuration, whatever the data, as far as they exist."""
    plain = RunFolder.of(config)
    others = sorted(plain.path.parent.glob(f"{plain.path.name}-*"))
    return [RunFolder(path) for path in (plain.path, *others) if path.is_dir()]


def read_elsewhere(config: Config, data_hash: str) -> str | None:
    """Return the path at which a run of this study read these data, that is this one but for it.

    A folder is named by what a run is told, of which the path is a part; None if there is none.

    Args:
        config: of the run.
        data_hash: of the data that it reads.
    """
    dataset = config.dataset
    if not is_own(dataset.loader):
        return None
    plain = RunFolder.of(config)
    rest = run_name(config).removeprefix(dataset.name)
    for path in sorted(plain.path.parent.glob(f"*{glob.escape(rest)}-*")):
        folder = RunFolder(path)
        if path == plain.path or not folder.same_data(data_hash):
            continue
        with contextlib.suppress(ConfigError):
            theirs = read_config(folder.config).dataset
            there = {**dataset.loader, "path": theirs.loader.get("path")}
            moved = replace(config, dataset=replace(dataset, name=theirs.name, loader=there))
            if path.name.startswith(RunFolder.of(moved).path.name):
                return str(there["path"])
    return None


def _former(config: Config) -> RunFolder:
    """Return the folder that earlier versions gave a run, if it is there; or that of now."""
    plain = RunFolder.of(config)
    names = dict.fromkeys((run_name(config), former_name(config)))
    hashes = (former_hash(config), config_hash(config))
    places = (plain.path.with_name(f"{name}-{one}") for name in names for one in hashes)
    return next((RunFolder(place) for place in places if place.is_dir()), plain)


def _other(plain: RunFolder, data_hash: str) -> RunFolder:
    return RunFolder(plain.path.with_name(f"{plain.path.name}-{data_hash}"))


def _taken(folder: RunFolder, data_hash: str) -> bool:
    """Take a folder for these data, unless it is that of others; say whether it is theirs."""
    path = folder.path
    path.mkdir(parents=True, exist_ok=True)
    if not folder.result.is_file():
        part = path / f".data_hash.{own_number()}"
        part.write_text(data_hash)
        try:
            os.link(part, path / "data_hash")  # which fails where another process was faster
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            with contextlib.suppress(FileExistsError), (path / "data_hash").open("x") as file:
                file.write(data_hash)
        finally:
            part.unlink()
    return folder.same_data(data_hash)


def _point(config: Config, home: RunFolder) -> None:
    """Write down which of several folders a run from this `data_dir` has now."""
    if len(homes(config)) < 2:
        return
    pointer = _pointer(config)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    write_text(pointer, home.path.name)


def _pointer(config: Config) -> Path:
    place = hashlib.sha256((config.data_dir or "").encode()).hexdigest()[:8]
    return RunFolder.of(config).path / f".home-{place}"
