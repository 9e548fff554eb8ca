"""Training: the LightningModule, its callbacks, optimizers, and packs."""
