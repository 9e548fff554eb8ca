"""A data set's batches as Lightning's Trainer takes them."""

from typing import Any

from torch.utils.data import DataLoader

from adapterlab.data.batches import AnyBatches
from adapterlab.training.lightning.imported import pl


class LightningData(pl.LightningDataModule):
    """Training and validation batches of a data set, prepared when they are on their device.

    Args:
        data: the same batches for plain loops.
    """

    def __init__(self, data: AnyBatches) -> None:
        super().__init__()
        self.data = data

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches of the training split."""
        # Workers fetch ahead, before Lightning sets the epoch of a resumed run.
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        return self.data.loader("train", epoch)

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split in its fixed order."""
        return self.data.loader("validation")

    def test_dataloader(self) -> DataLoader[Any]:
        """The official test split in its fixed order."""
        return self.data.loader("test")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Return what a model sees of a batch."""
        return self.data.prepared(batch)
