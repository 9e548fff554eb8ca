"""A training goes on from a checkpoint of its own, or says in a line why it does not."""

from pathlib import Path
from typing import Any

import pytest
import torch

from adapterlab.base.errors import CheckpointError
from adapterlab.training.checkpoints import restoring, whole

STATE = {"model.model.head.weight": torch.zeros(2, 3)}
GOOD: dict[str, Any] = {
    **{"epoch": 0, "global_step": 1, "state_dict": STATE, "loops": {}, "callbacks": {}},
    **{"optimizer_states": [], "lr_schedulers": [], "history": {1: {"val/loss": 1.0}}},
}


def test_one_that_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    assert whole(path, STATE) is None
    torch.save(GOOD, path)
    saved = whole(path, STATE)
    assert saved is not None
    assert saved.keys() == GOOD.keys()
    assert saved["history"] == GOOD["history"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"loops": None}, "it has no loops"),
        ({"epoch": "0"}, "it has no epoch"),
        ({"history": {1: {"val/loss": "low"}}}, "history is not metrics by epoch"),
        ({"state_dict": {"model.model.head.weight": torch.zeros(3, 2)}}, "another model.*3, 2"),
        ({"state_dict": {}}, "another model.*None there"),
        ({"state_dict": STATE | {"model.model.x": torch.zeros(1)}}, "another model.*None here"),
    ],
)
def test_one_that_is_none(changed: dict[str, Any], why: str, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(GOOD | changed, path)
    with pytest.raises(CheckpointError, match=f"{why}.*delete .* to train anew") as caught:
        whole(path, STATE)
    assert "\n" not in str(caught.value)


def test_what_goes_wrong_before_training_is_the_checkpoints_fault(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    with (
        pytest.raises(CheckpointError, match=r"cannot be gone on from .KeyError: 'monitor'"),
        restoring(path, lambda: False),
    ):
        raise KeyError("monitor")
    for checkpoint, began in ((None, False), (path, True)):
        with (
            pytest.raises(KeyError),
            restoring(checkpoint, lambda answer=began: answer),  # type: ignore[misc]
        ):
            raise KeyError("monitor")
    with pytest.raises(torch.OutOfMemoryError), restoring(path, lambda: False):
        raise torch.OutOfMemoryError
