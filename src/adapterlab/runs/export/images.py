"""The folder of a merged image classifier of transformers: what `save_pretrained` writes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from adapterlab.data.images import ImageBatches, RawBatch
from adapterlab.data.pixels import PILLOWS
from adapterlab.data.splits import ImageSplit
from adapterlab.models.safe_loading import PLAIN, TENSORS
from adapterlab.models.vision import VisionClassifier
from adapterlab.runs.export.folder import ExportError, ImageModelFolder, name_classes


def is_of_transformers(model: nn.Module) -> bool:
    """Say whether `transformers` alone can read a model back, and its processors its images."""
    own: Any = getattr(model, "model", None)
    if not isinstance(model, VisionClassifier) or not hasattr(own, "save_pretrained"):
        return False
    return bool(getattr(own.config, "num_channels", 3) == 3)


@dataclass(frozen=True)
class TransformersImageFolder(ImageModelFolder):
    """Model and image processor, for `transformers` alone to read."""

    def write(self, merged: nn.Module, folder: Path) -> None:
        """Write the model, and a processor that resizes and normalises as the run did."""
        from adapterlab.models.loading import quiet  # loads transformers: not for other images

        # isort: split

        from transformers import ViTImageProcessor

        classifier, data = cast(VisionClassifier, merged), cast(ImageBatches, self.data)
        model: Any = classifier.model
        name_classes(model.config, self.data.classes, self.data.task)
        height, width = data.pixels.size or self.shape[1:]
        processor = ViTImageProcessor(
            size={"height": height, "width": width},
            resample=PILLOWS[data.pixels.interpolation],
            image_mean=list(data.normalize.mean),
            image_std=list(data.normalize.std),
        )
        with quiet():
            model.save_pretrained(folder)
            processor.save_pretrained(folder)

    def read(self, folder: Path) -> nn.Module:
        """Load with `transformers` alone."""
        from adapterlab.models.hub_images import as_classifier
        from adapterlab.models.loading import quiet

        # isort: split

        from transformers import AutoModelForImageClassification

        with quiet():
            model = AutoModelForImageClassification.from_pretrained(folder, **TENSORS)
        return as_classifier(model, cast(ImageBatches, self.data).pixels)

    def check_inputs(self, folder: Path, rows: int) -> None:
        """Compare what the processor makes of images with what the run made, to one grey level.

        Raises:
            ExportError: it is something else.
        """
        from transformers import AutoImageProcessor

        data = cast(ImageBatches, self.data)
        split: ImageSplit = data.splits["validation"]
        images, labels = split.images[:rows], split.labels[:rows]
        load: Callable[..., Any] = AutoImageProcessor.from_pretrained
        processor = load(folder, **PLAIN)
        found = processor(images=list(images), return_tensors="pt")["pixel_values"]
        wanted = data.prepared(RawBatch(images, labels, None)).inputs.to(found)
        level = 1.01 / (255 * torch.tensor(data.normalize.std))[:, None, None]
        if found.shape != wanted.shape or not ((found - wanted).abs() <= level).all():
            raise ExportError("the image processor gives other numbers when read back")

    def usage(self, folder: str) -> str:
        """Load a pipeline, which takes images of any size."""
        return (
            "from transformers import pipeline; "
            f"classify = pipeline('image-classification', model={folder!r})"
        )
