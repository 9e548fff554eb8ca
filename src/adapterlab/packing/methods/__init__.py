"""Batched counterparts of the layers of methods, one file a method.

Each file enters its own into `COUNTERPARTS`; all that lie here are imported.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
