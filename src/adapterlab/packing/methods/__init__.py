"""Batched counterparts of the layers of methods, one file a method.

Each file enters its own into `COUNTERPARTS`, and is imported here.
"""

import adapterlab.packing.methods.bottleneck
import adapterlab.packing.methods.reft  # noqa: F401
