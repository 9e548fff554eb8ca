"""AdapterLab: which way of fine-tuning is best here, and is the difference real?

Importing this package loads no torch: the command line composes and checks its
configuration first. What is named here is loaded when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapterlab.app.study import Study, study
    from adapterlab.app.training import sweep, train
    from adapterlab.base.errors import AdapterLabError

__version__ = "0.1.0"

_WHERE = {
    "AdapterLabError": "adapterlab.base.errors",
    "Study": "adapterlab.app.study",
    "study": "adapterlab.app.study",
    "sweep": "adapterlab.app.training",
    "train": "adapterlab.app.training",
}

__all__ = ["AdapterLabError", "Study", "__version__", "study", "sweep", "train"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
