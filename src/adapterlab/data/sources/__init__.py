"""Where data sets come from: loader functions, all of one signature.

``loader(context, **options) -> ImageSplits``, or ``TextSplits`` for texts. A new source is one more
such function. They are imported from their own files, so that a run loads the libraries of its own
source only: ``embedded.digits``, ``torchvision_files.{mnist, fashion_mnist, cifar10}``,
``image_folder.image_folder`` and ``parquet.image_parquet`` for images; ``hub_text.hub_text`` and
``text_files.text_files`` for texts.
"""

from adapterlab.data.sources.context import LoadContext

__all__ = ["LoadContext"]
