"""Ways to fine-tune: one file a method, all of them over plain torch modules."""

from adapterlab.adapters.checkpoint import load_adapter, read_extra, read_metadata, save_adapter
from adapterlab.adapters.combined import Combined
from adapterlab.adapters.merge import merge
from adapterlab.adapters.methods.adalora import AdaLoRA, AdaLoRALinear
from adapterlab.adapters.methods.bitfit import BitFit
from adapterlab.adapters.methods.boft import BOFT
from adapterlab.adapters.methods.bottleneck import Bottleneck, BottleneckLinear
from adapterlab.adapters.methods.continued import Continued
from adapterlab.adapters.methods.delora import DeLoRA
from adapterlab.adapters.methods.diff_pruning import DiffPruning
from adapterlab.adapters.methods.dora import DoRA, DoRALinear
from adapterlab.adapters.methods.dvora import DVoRA, DVoRALinear
from adapterlab.adapters.methods.fourierft import FourierFT
from adapterlab.adapters.methods.frozen_lora import FrozenLoRA
from adapterlab.adapters.methods.full import Full
from adapterlab.adapters.methods.gated import GatedBottleneck, GatedLoRA, GatedPrefix
from adapterlab.adapters.methods.gps import GPS
from adapterlab.adapters.methods.head import Head
from adapterlab.adapters.methods.hira import HiRA
from adapterlab.adapters.methods.hra import HRA
from adapterlab.adapters.methods.ia3 import IA3
from adapterlab.adapters.methods.last_layers import LastLayers
from adapterlab.adapters.methods.ln_tuning import LNTuning
from adapterlab.adapters.methods.loha import LoHa
from adapterlab.adapters.methods.lokr import LoKr
from adapterlab.adapters.methods.lora import LoRA, LoRALinear
from adapterlab.adapters.methods.lora_fa import LoRAFA
from adapterlab.adapters.methods.lora_plus import LoRAPlus
from adapterlab.adapters.methods.lora_xs import LoRAXS, LoRAXSLinear
from adapterlab.adapters.methods.miss import MiSS
from adapterlab.adapters.methods.oft import OFT
from adapterlab.adapters.methods.prefix import Prefix, PrefixAttention
from adapterlab.adapters.methods.prompt import Prompt, PromptedEncoder
from adapterlab.adapters.methods.reft import LoReFT, ReFT
from adapterlab.adapters.methods.shira import SHiRA
from adapterlab.adapters.methods.ssf import SSF
from adapterlab.adapters.methods.svft import SVFT, SVFTLinear
from adapterlab.adapters.methods.vera import VeRA, VeRALinear
from adapterlab.adapters.plan import Plan, PlannedLayer, plan
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer, ParameterCount, Strategy

__all__ = [
    "BOFT",
    "GPS",
    "HRA",
    "IA3",
    "OFT",
    "SSF",
    "SVFT",
    "AdaLoRA",
    "AdaLoRALinear",
    "AdaptedModel",
    "AdapterLayer",
    "BitFit",
    "Bottleneck",
    "BottleneckLinear",
    "Combined",
    "Continued",
    "DVoRA",
    "DVoRALinear",
    "DeLoRA",
    "DiffPruning",
    "DoRA",
    "DoRALinear",
    "FourierFT",
    "FrozenLoRA",
    "Full",
    "GatedBottleneck",
    "GatedLoRA",
    "GatedPrefix",
    "Head",
    "HiRA",
    "LNTuning",
    "LastLayers",
    "LoHa",
    "LoKr",
    "LoRA",
    "LoRAFA",
    "LoRALinear",
    "LoRAPlus",
    "LoRAXS",
    "LoRAXSLinear",
    "LoReFT",
    "MiSS",
    "ParameterCount",
    "Plan",
    "PlannedLayer",
    "Prefix",
    "PrefixAttention",
    "Prompt",
    "PromptedEncoder",
    "ReFT",
    "SHiRA",
    "SVFTLinear",
    "Strategy",
    "VeRA",
    "VeRALinear",
    "load_adapter",
    "merge",
    "plan",
    "read_extra",
    "read_metadata",
    "save_adapter",
]
