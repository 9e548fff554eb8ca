"""Ways to fine-tune: one file a method, all of them over plain torch modules."""

from adapterlab.adapters.checkpoint import load_adapter, read_extra, read_metadata, save_adapter
from adapterlab.adapters.combined import Combined
from adapterlab.adapters.merge import merge
from adapterlab.adapters.methods.bitfit import BitFit
from adapterlab.adapters.methods.dora import DoRA, DoRALinear
from adapterlab.adapters.methods.full import Full
from adapterlab.adapters.methods.head import Head
from adapterlab.adapters.methods.ia3 import IA3
from adapterlab.adapters.methods.last_layers import LastLayers
from adapterlab.adapters.methods.ln_tuning import LNTuning
from adapterlab.adapters.methods.lora import LoRA, LoRALinear
from adapterlab.adapters.methods.oft import OFT
from adapterlab.adapters.methods.ssf import SSF
from adapterlab.adapters.plan import Plan, PlannedLayer, plan
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer, ParameterCount, Strategy

__all__ = [
    "IA3",
    "OFT",
    "SSF",
    "AdaptedModel",
    "AdapterLayer",
    "BitFit",
    "Combined",
    "DoRA",
    "DoRALinear",
    "Full",
    "Head",
    "LNTuning",
    "LastLayers",
    "LoRA",
    "LoRALinear",
    "ParameterCount",
    "Plan",
    "PlannedLayer",
    "Strategy",
    "load_adapter",
    "merge",
    "plan",
    "read_extra",
    "read_metadata",
    "save_adapter",
]
