"""How Lightning's Trainer writes its checkpoints."""

from pathlib import Path
from typing import Any

from adapterlab.base.files import write_torch
from adapterlab.training.lightning.imported import pl


class WholeCheckpoints(pl.plugins.TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, beside the last good one.

    Lightning itself writes them to the folder for temporary files and copies them over the one that
    was there, which a full disk then destroys.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            FullDiskError: there is no room; the checkpoint that was there is as it was.
        """
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_torch(file, checkpoint)
