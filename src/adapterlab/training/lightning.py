"""Lightning, imported so that it works; see `torchvision_compat`."""

import adapterlab.torchvision_compat  # noqa: F401  # first: Lightning imports torchvision

# isort: split

import pytorch_lightning as pl

__all__ = ["pl"]
