"""Methods of PEFT that are no LoRA: ours, and what a user of PEFT would write."""

from dataclasses import dataclass
from typing import Any

from adapterlab.adapters import (
    BOFT,
    HRA,
    IA3,
    OFT,
    DeLoRA,
    FourierFT,
    HiRA,
    LNTuning,
    LoHa,
    LoKr,
    MiSS,
    SHiRA,
    Strategy,
)


@dataclass(frozen=True)
class Method:
    """A method as we have it and as a user of PEFT would write it, on an MLP and on BERT.

    Attributes:
        ours: strategies by what they try out.
        config: of PEFT, by the class's name and its options, for BERT with `on_bert`.
        on_bert: the strategy that reads what PEFT makes of it.
    """

    ours: dict[str, Strategy]
    config: tuple[str, dict[str, Any]]
    on_bert: Strategy


METHODS = {
    "ia3": Method(
        {"auto": IA3(), "inputs": IA3(targets="all-linear", feedforward="*", layers="first 1")},
        (
            "IA3Config",
            {
                "target_modules": ["key", "value", "output.dense"],
                "feedforward_modules": ["output.dense"],
            },
        ),
        IA3(targets=["key", "value", "*output.dense"], feedforward="*output.dense"),
    ),
    "ln_tuning": Method(
        {"all": LNTuning(), "some": LNTuning(targets="*output*")},
        ("LNTuningConfig", {"target_modules": ["LayerNorm"]}),
        LNTuning(),
    ),
    "oft": Method(
        {"all": OFT(block_size=4), "adapted head": OFT(block_size=6, head="adapt")},
        (
            "OFTConfig",
            {"target_modules": ["query", "key"], "oft_block_size": 7, "use_cayley_neumann": False},
        ),
        OFT(block_size=7, targets=["query", "key"]),
    ),
    "boft": Method(
        {},  # PEFT has whole matrices: test_boft.py
        (
            "BOFTConfig",
            {
                "target_modules": ["query", "key"],
                "boft_block_size": 8,
                "boft_n_butterfly_factor": 2,
            },
        ),
        BOFT(targets=["query", "key"]),
    ),
    "hira": Method(
        {"all": HiRA(rank=2), "adapted head": HiRA(rank=3, head="adapt")},
        ("HiraConfig", {"target_modules": ["query", "value"], "r": 3}),
        HiRA(rank=3, targets=["query", "value"]),
    ),
    "loha": Method(
        {"all": LoHa(rank=2, alpha=3)},
        ("LoHaConfig", {"target_modules": ["query", "value"], "r": 3, "alpha": 2}),
        LoHa(rank=3, alpha=2, targets=["query", "value"]),
    ),
    "lokr": Method(
        {
            "all": LoKr(rank=1, alpha=3),
            "both": LoKr(rank=1, alpha=2, decompose_both=True),
            "factor": LoKr(rank=2, alpha=2, factor=4, head="adapt"),
        },
        (
            "LoKrConfig",
            {
                "target_modules": ["query", "output.dense"],
                "r": 2,
                "alpha": 3,
                "decompose_factor": 8,
                "decompose_both": True,
                "init_weights": "lycoris",
            },
        ),
        LoKr(rank=2, alpha=3, factor=8, decompose_both=True, targets=["query", "*output.dense"]),
    ),
    "miss": Method(
        {"all": MiSS(rank=3), "adapted head": MiSS(rank=4, head="adapt")},
        ("MissConfig", {"target_modules": ["query", "output.dense"], "r": 7}),
        MiSS(rank=7, targets=["query", "*output.dense"]),
    ),
    "delora": Method(
        {"all": DeLoRA(rank=2, start="zero")},
        (
            "DeloraConfig",
            {"target_modules": ["query", "value"], "r": 3, "delora_lambda": 4},
        ),
        DeLoRA(rank=3, start="zero", targets=["query", "value"]),
    ),
    "fourierft": Method(
        {"all": FourierFT(n_frequency=11, scaling=20, location_seed=5)},
        (
            "FourierFTConfig",
            {"target_modules": ["query", "value"], "n_frequency": 50, "scaling": 100},
        ),
        FourierFT(n_frequency=50, scaling=100, targets=["query", "value"]),
    ),
    "hra": Method(
        {"all": HRA(rank=4), "adapted head": HRA(rank=2, head="adapt")},
        ("HRAConfig", {"target_modules": ["query", "value"], "r": 6}),
        HRA(rank=6, targets=["query", "value"]),
    ),
    "shira": Method(
        {
            "all": SHiRA(rank=2),
            "mask": SHiRA(rank=1, mask="magnitude"),
            "another seed": SHiRA(rank=1, random_seed=7, head="adapt"),
        },
        ("ShiraConfig", {"target_modules": ["query", "value"], "r": 3, "random_seed": 5}),
        SHiRA(rank=3, random_seed=5, targets=["query", "value"]),
    ),
}
