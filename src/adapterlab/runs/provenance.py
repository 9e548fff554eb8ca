"""What a run computed on: hashes of its data, of the base's weights, and of the tokenizer.

A configuration says where these are, not what they are. So they are part of what a run is, beside
the hash of its configuration, wherever runs are found, resumed, averaged or compared. What is not
known of a run, such as one of before this was written down, contradicts nothing.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from adapterlab.adapters.hashes import hash_tensors
from adapterlab.adapters.strategy import hash_weights
from adapterlab.base.errors import AdapterLabError, CheckpointError
from adapterlab.base.files import file_hash, write_json
from adapterlab.config.schema import CheckpointBase, Config, PeftBase, PretrainedBase, TrainedBase
from adapterlab.config.targets import prepared
from adapterlab.models.origin import (
    State,
    folder_of,
    model_hash,
    says_what_it_reads,
    state_of,
)
from adapterlab.models.protocol import adaptable
from adapterlab.runs.base_weights import base_run
from adapterlab.runs.data import RunData
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.runs.folders.homes import known_home
from adapterlab.runs.folders.integrity import finished_whole
from adapterlab.runs.identity import hashes_of_peft
from adapterlab.runs.preprocessing import vocabulary_is_made
from adapterlab.runs.sketch import make_model

if TYPE_CHECKING:  # what finds finished runs again loads no more than that takes
    from adapterlab.runs.assembly import Assembly

TAGS = {
    "data": "data_hash",
    "weights": "weights_hash",
    "tokenizer": "tokenizer_hash",
    "base": "base_sha256",
}
"""The tags of a run that say it, by field."""

WORDS = {
    "data": "data",
    "weights": "base weights",
    "tokenizer": "tokenizer",
    "base": "base weights",
}
"""What a person would call each field."""


@dataclass(frozen=True)
class Provenance:
    """Hashes of what a run computed on; empty where one is not known, or there is none.

    Attributes:
        data: of target and source.
        weights: of the files, or of the tensors, that the base's weights come from.
        tokenizer: of all that decides which tokens a text becomes.
        base: of the weights in memory that the trained parameters belong to. What was drawn for
            the run is among them, so replicates may differ in it, and a run and itself may not.
    """

    data: str = ""
    weights: str = ""
    tokenizer: str = ""
    base: str = ""

    def unlike(self, other: "Provenance") -> list[str]:
        """Return what is known of both and differs, in words, each once."""
        mine, yours = asdict(self), asdict(other)
        differing = [key for key in mine if mine[key] and yours[key] and mine[key] != yours[key]]
        return list(dict.fromkeys(WORDS[key] for key in differing))

    def tags(self) -> dict[str, str]:
        """Return it as the tags of a run; what is not known has none."""
        return {TAGS[key]: value for key, value in asdict(self).items() if value}

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "Provenance":
        """Return what a run's tags say."""
        return cls(**{key: tags.get(tag, "") for key, tag in TAGS.items()})


def foreseen(config: Config, read: RunData) -> Provenance:
    """Return what is known before a base is trained or loaded.

    Files are hashed once, as long as they are not changed. What is not here yet, such as a model
    that the hub has to send, is not known.

    Args:
        config: of the run.
        read: its data.
    """
    weights = tokenizer = ""
    with contextlib.suppress(AdapterLabError):  # whoever loads it says what is wrong
        weights = _weights(config, read)
    with contextlib.suppress(AdapterLabError):
        tokenizer = _tokenizer(config, read)
    return Provenance(read.hash, weights, tokenizer)


def of_assembly(config: Config, assembly: "Assembly") -> Provenance:
    """Return what a run is about to compute on, all of it.

    Args:
        config: of the run.
        assembly: of the run, not trained yet.
    """
    known = foreseen(config, assembly.read)
    tokenizer = assembly.inputs.vocabulary or ""
    return replace(known, tokenizer=tokenizer[:12], base=assembly.adapted.base_hash)


def write_provenance(folder: RunFolder, provenance: Provenance) -> None:
    """Write down what a run computes on, before it does."""
    write_json(_file(folder), asdict(provenance))


def read_provenance(folder: RunFolder) -> Provenance | None:
    """Return what the run in a folder computed on, as far as it is known; None without a run."""
    with contextlib.suppress(CheckpointError):
        if (finished := folder.finished()) is not None:
            return replace(Provenance.from_tags(finished.tags), data=finished.data_hash)
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Provenance(**json.loads(_file(folder).read_text()))
    if not folder.config.is_file():
        return None
    with contextlib.suppress(OSError):
        return Provenance(data=(folder.path / "data_hash").read_text())
    return None


def _file(folder: RunFolder) -> Path:
    return folder.path / "provenance.json"


def _weights(config: Config, read: RunData) -> str:
    """Return a hash of what the base's weights come from; empty if that is not known."""
    base, own = config.base, ""
    if isinstance(base, PretrainedBase):
        return _of_model(config, read, weights=True)
    if isinstance(base, TrainedBase):
        own = _trained(config, read)
        if not own:
            return ""
    elif isinstance(base, CheckpointBase):
        own = file_hash(Path(base.path)) or ""
    elif isinstance(base, PeftBase):
        own = "\n".join(str(hashed) for hashed in hashes_of_peft(Path(base.path)).values())
    architecture = _of_model(config, read, weights=isinstance(base, PeftBase))
    found = "\n".join(part for part in (own, architecture) if part)
    return hashlib.sha256(found.encode()).hexdigest()[:12] if found else ""


def _of_model(config: Config, read: RunData, *, weights: bool) -> str:
    """Return a hash of the model that is read from files; empty if there are none, or not here."""
    supplied = ("num_classes", "generator", "input_shape", "weights")
    allow = config.allow_targets
    load = _loader(prepared(config.model, "model", perhaps=supplied, allow=allow))
    if says_what_it_reads(load):
        folder = folder_of(load, config.model)
        return "" if folder is None else model_hash(folder, weights=weights)
    if not weights:
        return ""
    return read.once(f"weights {json.dumps(config.model)}", lambda: _loaded(config, read))


def _loaded(config: Config, read: RunData) -> str:
    """Load a model's own weights to hash them, what is drawn being the same for all seeds."""
    model = make_model(replace(config, init_seed=0), read.shape, len(read.target.classes))
    return hash_weights(model, without=adaptable(model).head_modules)[:12]


def _trained(config: Config, read: RunData) -> str:
    """Return a hash of the weights of the base that was trained here; empty if it was not yet."""
    run, data = base_run(config), read.of_source
    home = None if run is None or data is None else known_home(run, data.hash)
    if home is None or finished_whole(home) is None:
        return ""
    stat = home.adapter.stat()
    return _tensors_hash(home.adapter, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _tensors_hash(path: Path, modified: int, size: int) -> str:
    """Hash a file's tensors once, as long as it is not changed."""
    try:
        return hash_tensors(load_file(path))
    except (OSError, SafetensorError):
        return ""


def _tokenizer(config: Config, read: RunData) -> str:
    """Return a hash of the tokenizer; empty if there is none, or it is made of the data."""
    if "tokenizer" not in config.model or vocabulary_is_made(config):
        return ""
    node = json.dumps(config.model["tokenizer"], sort_keys=True)
    allow = tuple(config.allow_targets)
    load = _loader(prepared(config.model["tokenizer"], "model.tokenizer", allow=allow))
    if not says_what_it_reads(load):
        return read.once(f"tokenizer {node}", lambda: _tokenizer_hash(node, allow))
    folder = tokenizer_folder(config)
    return "" if folder is None else _hash_while_the_same(node, allow, state_of(folder))


def tokenizer_folder(config: Config) -> Path | None:
    """Return the folder that a tokenizer is read from.

    None if it is not here yet, is made of the data, or its loader does not say what it reads.
    """
    if "tokenizer" not in config.model or vocabulary_is_made(config):
        return None
    node = config.model["tokenizer"]
    load = _loader(prepared(node, "model.tokenizer", allow=tuple(config.allow_targets)))
    return folder_of(load, node) if says_what_it_reads(load) else None


@lru_cache(maxsize=64)
def _hash_while_the_same(node: str, allow: tuple[str, ...], files: State) -> str:
    return _tokenizer_hash(node, allow)


def _tokenizer_hash(node: str, allow: tuple[str, ...]) -> str:
    from adapterlab.data.tokens import tokenizer_hash

    return tokenizer_hash(prepared(json.loads(node), "model.tokenizer", allow=allow)())[:12]


def _loader(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that `prepared` has bound arguments to."""
    assert isinstance(make, partial)
    return make.func
