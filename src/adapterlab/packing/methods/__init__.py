"""Batched counterparts of the layers of methods, one file a method.

Each file enters its own into `COUNTERPARTS`, and is imported here.
"""

import adapterlab.packing.methods.adalora
import adapterlab.packing.methods.boft
import adapterlab.packing.methods.bottleneck
import adapterlab.packing.methods.delora
import adapterlab.packing.methods.diff_pruning
import adapterlab.packing.methods.dora
import adapterlab.packing.methods.dvora
import adapterlab.packing.methods.fourierft
import adapterlab.packing.methods.frozen_lora
import adapterlab.packing.methods.gated
import adapterlab.packing.methods.gps
import adapterlab.packing.methods.hira
import adapterlab.packing.methods.hra
import adapterlab.packing.methods.ia3
import adapterlab.packing.methods.loha
import adapterlab.packing.methods.lokr
import adapterlab.packing.methods.lora_fa
import adapterlab.packing.methods.lora_xs
import adapterlab.packing.methods.miss
import adapterlab.packing.methods.oft
import adapterlab.packing.methods.prefix
import adapterlab.packing.methods.prompt
import adapterlab.packing.methods.reft
import adapterlab.packing.methods.shira
import adapterlab.packing.methods.ssf
import adapterlab.packing.methods.svft
import adapterlab.packing.methods.vera  # noqa: F401
