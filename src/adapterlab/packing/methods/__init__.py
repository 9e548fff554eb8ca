"""Batched counterparts of the layers of methods, one file a method.

Each file enters its own into `COUNTERPARTS`, and is imported here.
"""

import adapterlab.packing.methods.bottleneck  # noqa: F401
