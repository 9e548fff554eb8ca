"""Import torchvision even where its build does not match torch's.

A CUDA build of torchvision beside a CPU build of torch dies at import with ``operator
torchvision::nms does not exist``, and torchmetrics and Lightning die with it. The project uses
torchvision's data sets only, which need none of its compiled operators: declaring the two missing
ones is enough. On healthy installs importing this module imports torchvision and does nothing else.

Import it before anything that meets torchvision: Lightning, transformers, torchvision itself.
"""

import importlib
import sys

import torch

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_declared: list[torch.library.Library] = []  # a Library takes its operators along when it dies


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in _OPERATORS:
            library.define(operator + _SIGNATURE)  # type: ignore[no-untyped-call]
        _declared.append(library)
        importlib.import_module("torchvision")


_import_torchvision()
