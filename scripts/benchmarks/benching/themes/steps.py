"""One step of training on the same weights and rows, over PEFT's: `methods.py` has both."""

from collections.abc import Mapping
from functools import partial

from benching.rows import Race, Row, Side, whole
from benching.setting import Setting

MODELS = {"mlp": "MLP 3072-512-256-10, batch 128", "minilm": "MiniLM, 16 texts of 48 tokens"}
METHODS = {"lora": "LoRA", "dora": "DoRA"}
MOST = {
    ("mlp", "lora"): 0.95,
    ("mlp", "dora"): 0.19,
    ("minilm", "lora"): 0.98,
    ("minilm", "dora"): 0.85,
}
_EQUAL = "The same base, its dropout off on both sides; rank 8 on all linear layers but the head."


def _race(model: str) -> Race:
    def sides(setting: Setting) -> Mapping[str, Side]:
        # Both sides live in one process: what is loaded is not counted.
        ask = setting.inside("steps.py")
        return {
            f"{side}, {method}": partial(ask, model, method, side)
            for method in METHODS
            for side in ("AdapterLab", "PEFT")
        }

    def lacking(setting: Setting) -> str | None:
        return setting.lacking_texts() if model == "minilm" else None

    return Race(f"steps_{model}", f"Steps: {MODELS[model]}", sides, lacking)


RACES = [_race(model) for model in MODELS]

ROWS = [
    Row(
        f"step_{model}_{method}",
        f"A step of {METHODS[method]} over PEFT's, {MODELS[model]}",
        f"steps_{model}",
        whole(f"AdapterLab, {method}"),
        whole(f"PEFT, {method}"),
        most,
        _EQUAL,
    )
    for (model, method), most in MOST.items()
]
