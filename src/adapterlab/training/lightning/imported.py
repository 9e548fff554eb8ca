"""Lightning, imported so that it works; see `base.torchvision_compat`."""

import adapterlab.base.torchvision_compat  # noqa: F401  # first: Lightning imports torchvision

# isort: split

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

__all__ = ["LightningEnvironment", "pl"]
