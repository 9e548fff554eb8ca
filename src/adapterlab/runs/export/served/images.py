"""A classifier of images as MLflow loads it, by torch and Pillow alone."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from PIL import Image, ImageOps

BATCH = 256
_FORMATS = ["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF"]
_DEEP = ("I", "I;16", "I;16B", "I;16L")
_ORIENTATION = 0x0112


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Takes a column `image` of encoded images, and returns the most probable class of each.

    The parameter `probabilities` adds a column for each class. Where images have several labels, it
    returns a list of those above their thresholds, and the probability of each; where they have a
    number, that number.
    """

    def load_context(self, context: Any) -> None:
        """Load the program that torch has exported, and what its inputs are."""
        folder = Path(context.artifacts["model"])
        self.model = torch.export.load(folder / "program.pt2").module()
        inputs = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
        self.answers: dict[str, Any] = inputs["answers"]
        self.decoded: list[int] = inputs["decoded_shape"]
        self.background: list[int] | None = inputs["background"]
        self.shape: list[int] = inputs["kept_shape"]
        self.size: list[int] = inputs["size"]
        self.interpolation: str = inputs["interpolation"]
        self.dtype = getattr(torch, inputs["dtype"])
        mean, std = (torch.tensor(inputs[name], dtype=torch.float64) for name in ("mean", "std"))
        self.scale = (1 / (255 * std)).float()[:, None, None]
        self.shift = (-mean / std).float()[:, None, None]

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Classify images; those of other sizes are brought to that of the training."""
        images = list(model_input["image"])
        parts = [
            self._outputs(images[start : start + BATCH]) for start in range(0, len(images), BATCH)
        ]
        outputs = torch.cat(parts) if parts else torch.empty(0, len(self.answers["classes"]))
        return _table(outputs, self.answers, params or {})

    @torch.inference_mode()
    def _outputs(self, images: list[bytes]) -> torch.Tensor:
        pixels = torch.stack([self._decoded(content) for content in images])
        if pixels.shape[1] == 3 and self.shape[0] == 1:
            pixels = _luminance(pixels)
        pixels = _resized(pixels, self.shape[1:], "bilinear")
        pixels = pixels.expand(-1, self.shape[0], -1, -1)
        pixels = _resized(pixels, self.size, self.interpolation)
        inputs = (pixels.float() * self.scale + self.shift).to(self.dtype)
        outputs: torch.Tensor = self.model(inputs)
        return outputs.double()

    def _decoded(self, content: bytes) -> torch.Tensor:
        """Decode an image as the training's images were."""
        with Image.open(BytesIO(content), formats=_FORMATS) as opened:
            image: Image.Image = opened
            if opened.getexif().get(_ORIENTATION, 1) != 1:
                image = ImageOps.exif_transpose(opened)
            channels, height, width = self.decoded
            if image.mode in _DEEP:
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if self.background is not None and image.has_transparency_data:
                ground = Image.new("RGBA", image.size, (*self.background, 255))
                ground.alpha_composite(image.convert("RGBA"))
                image = ground
            image = image.convert("L" if channels == 1 else "RGB")
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            pixels = torch.from_numpy(np.array(image))
        return pixels[None] if channels == 1 else pixels.permute(2, 0, 1)


# The same in texts.py: MLflow keeps one file of code with a model, and a module beside it would be
# shared by all models of a process, whatever their versions.
def _table(outputs: torch.Tensor, said: dict[str, Any], params: dict[str, Any]) -> pd.DataFrame:
    """Return a model's outputs ``[N, C]`` as answers of its task."""
    classes, task = said["classes"], said["task"]
    if task == "regression":
        numbers = outputs[:, 0].double() * said["deviation"] + said["mean"]
        return pd.DataFrame({"prediction": numbers.tolist()})
    if task == "multi_label":
        probabilities = torch.sigmoid(outputs.double())
        above = probabilities > torch.tensor(said["thresholds"], dtype=torch.float64)
        labels = [[classes[i] for i in row.nonzero()[:, 0].tolist()] for row in above]
        table = pd.DataFrame({"prediction": labels})
    else:
        probabilities = torch.softmax(outputs.double(), dim=1)
        best = probabilities.max(dim=1)
        table = pd.DataFrame(
            {
                "prediction": [classes[label] for label in best.indices.tolist()],
                "probability": best.values.tolist(),
            }
        )
    if task == "multi_label" or params.get("probabilities"):
        for label, name in enumerate(classes):
            table[f"probability/{name}"] = probabilities[:, label].tolist()
    return table


def _resized(images: torch.Tensor, size: list[int], mode: str) -> torch.Tensor:
    if list(images.shape[2:]) == size:
        return images
    return torch.nn.functional.interpolate(images, size=size, mode=mode, antialias=True)


def _luminance(images: torch.Tensor) -> torch.Tensor:
    red, green, blue = images.to(torch.int32).unbind(dim=1)
    gray = (19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16
    return gray.to(torch.uint8)[:, None]


set_model(ImageClassifier())
