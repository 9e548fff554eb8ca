"""A checkpoint of our loop: as Lightning's Trainer writes it, so that either goes on from it."""

from typing import Any

from adapterlab.base.revision import version_of
from adapterlab.training.steps import Steps

_BOTH = ("ready", "completed")
_ALL = ("ready", "completed", "started")
_BATCHES = (*_ALL, "processed")


def checkpoint(steps: Steps, *, batches: int, epoch_steps: int, validated: int) -> dict[str, Any]:
    """Return what a training goes on from after an epoch.

    Args:
        steps: what is trained.
        batches: of an epoch.
        epoch_steps: that an epoch takes.
        validated: batches of the validation split.
    """
    epoch, taken = steps.training_state.epochs, steps.driver.global_step
    scheduled = steps.schedule is not None
    saved: dict[str, Any] = {
        "epoch": epoch - 1,
        "global_step": taken,
        "pytorch-lightning_version": version_of("pytorch-lightning"),
        "loops": {
            "fit_loop": {
                "state_dict": {},
                "epoch_loop.state_dict": {"_batches_that_stepped": taken},
                "epoch_loop.batch_progress": {
                    **_counts(_BATCHES, batches, batches * epoch),
                    "is_last_batch": True,
                },
                "epoch_loop.scheduler_progress": _counts(
                    _BOTH, epoch_steps * scheduled, taken * scheduled
                ),
                "epoch_loop.automatic_optimization.state_dict": {},
                "epoch_loop.automatic_optimization.optim_progress": {
                    "optimizer": {
                        "step": _counts(_BOTH, epoch_steps, taken),
                        "zero_grad": _counts(_ALL, epoch_steps, taken),
                    }
                },
                "epoch_loop.manual_optimization.state_dict": {},
                "epoch_loop.manual_optimization.optim_step_progress": _counts(_BOTH, 0, 0),
                "epoch_loop.val_loop.state_dict": {},
                "epoch_loop.val_loop.batch_progress": {
                    **_counts(_BATCHES, validated, validated),
                    "is_last_batch": True,
                },
                # The last epoch is processed, and completed once this is written.
                "epoch_progress": {
                    kind: {**dict.fromkeys(_BATCHES, epoch), "completed": epoch - 1}
                    for kind in ("total", "current")
                },
            },
            "validate_loop": _not_begun(is_last_batch=False),
            "test_loop": _not_begun(is_last_batch=False),
            "predict_loop": _not_begun(),
        },
        "callbacks": {},
        "optimizer_states": [steps.optimizer.state_dict()],
        "lr_schedulers": [] if steps.schedule is None else [steps.schedule.state_dict()],
    }
    steps.on_save_checkpoint(saved)
    return saved


def _counts(kinds: tuple[str, ...], current: int, total: int) -> dict[str, Any]:
    return {"current": dict.fromkeys(kinds, current), "total": dict.fromkeys(kinds, total)}


def _not_begun(**more: Any) -> dict[str, Any]:
    return {"state_dict": {}, "batch_progress": {**_counts(_BATCHES, 0, 0), **more}}
