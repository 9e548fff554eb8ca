"""Batched counterparts of the layers of methods, one file a method.

Each file enters its own into `COUNTERPARTS`, and is imported here.
"""

import adapterlab.packing.methods.ia3
import adapterlab.packing.methods.oft
import adapterlab.packing.methods.ssf  # noqa: F401
