"""Going on in a pack with a training that began alone: its checkpoint, as that of a lane."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from adapterlab.adapters import AdaptedModel
from adapterlab.config.schema import Config
from adapterlab.training.checkpoints import damaged, loaded, require_same, whole
from adapterlab.training.optimizers import Setting, grouped, settings_of
from adapterlab.training.outcome import best_checkpoint, last_checkpoint
from adapterlab.training.packed.lane import LaneProgress, SavedLane, lane_checkpoint, load_lane
from adapterlab.training.training_state import TrainingState

PREFIX = "model.model."
"""What Lightning's checkpoints have before the names of parameters."""


def saved_lane(config: Config, folder: Path, model: AdaptedModel) -> SavedLane | None:
    """Read what a run goes on from in a pack, wherever it began; None if there is nothing.

    Args:
        config: of the run.
        folder: of its checkpoints.
        model: of the run.

    Raises:
        CheckpointError: a checkpoint is damaged, or of another model.
    """
    lane = load_lane(folder, model.state())
    return _begun_alone(config, folder, model) if lane is None else lane


def gone_on_from(folder: Path) -> Path:
    """Return the file that `saved_lane` reads, to name it in errors."""
    lane = lane_checkpoint(folder)
    return lane if lane.is_file() else last_checkpoint(folder)


def _begun_alone(config: Config, folder: Path, model: AdaptedModel) -> SavedLane | None:
    own = {f"{PREFIX}{name}": tensor for name, tensor in model.state().items()}
    path = last_checkpoint(folder)
    saved = whole(path, own)
    if saved is None:
        return None
    best_path = best_checkpoint(folder)
    best = loaded(best_path).get("state_dict")
    require_same(best, own, best_path)
    state = TrainingState.after(saved["history"], config.select_on)
    progress = LaneProgress(**vars(state), best_state=_unprefixed(best or {}), resumed=True)
    settings = settings_of(model, config.optimizer)
    try:
        (states,) = saved["optimizer_states"]
        names = [name for group in grouped(model.trainable(), settings).values() for name in group]
        tensors = {
            name: _tensors(states["state"].get(number, {})) for number, name in enumerate(names)
        }
        plateau = saved["plateau"] and {
            "rates": _rates(config.optimizer.lr, settings, states["param_groups"]),
            "schedule": saved["plateau"],
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        raise damaged(path, "it is no checkpoint of a run: its optimizer has other parts") from None
    optimizer = {"tensors": tensors, "plateau": plateau}
    return SavedLane(progress, _unprefixed(saved["state_dict"]), optimizer)


def _rates(lr: float, settings: Mapping[str, Setting], groups: list[dict[str, Any]]) -> list[float]:
    """Return what has become of the peak rates, in the order in which lanes keep them."""
    peaks = [setting.lr for setting in grouped(settings, settings)]
    now = dict(zip(peaks, (float(group["lr"]) for group in groups), strict=True))
    first = peaks[0]
    return [now.get(peak, now[first] * (peak / first)) for peak in dict.fromkeys([lr, *peaks])]


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def _unprefixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
