"""Packs: K adapted models over one frozen base, trained in one pass."""

from adapterlab.packing.pack import (
    CannotPackError,
    PackedModel,
    Signature,
    share_frozen,
    signature,
)

__all__ = ["CannotPackError", "PackedModel", "Signature", "share_frozen", "signature"]
