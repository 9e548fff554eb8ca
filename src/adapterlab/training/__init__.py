"""Training: the LightningModule, its callbacks and its optimizers."""

import adapterlab.torchvision_compat  # noqa: F401  # before Lightning, which imports torchvision
