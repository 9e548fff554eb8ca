"""Packs: K adapted models over one frozen base, trained in one pass."""

import adapterlab.packing.convolutions
import adapterlab.packing.methods  # noqa: F401  # their counterparts stand in one table
from adapterlab.packing.pack import PackedModel, share_frozen
from adapterlab.packing.signatures import CannotPackError, Signature, signature

__all__ = ["CannotPackError", "PackedModel", "Signature", "share_frozen", "signature"]
