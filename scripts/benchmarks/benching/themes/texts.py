"""MiniLM on texts: over Hugging Face's Trainer with PEFT, in bfloat16, with its frozen prefix."""

from collections.abc import Mapping
from pathlib import Path

from benching.rows import Race, Row, Side, memory, training, whole
from benching.setting import Setting

OURS, THEIRS = "AdapterLab", "HF Trainer + PEFT"
LIKE_THEIRS = "AdapterLab, their dropout and padding"
BF16, FP32 = "AdapterLab, bf16-mixed", "AdapterLab, fp32"
THEIRS_BF16 = "HF Trainer + PEFT, bf16"
FOUND, WITHOUT = "prefix found", "no prefix"

MINILM = ("model=minilm", "batch_size=16")
LORA = (*MINILM, "adapter=lora", "adapter.targets=[query,value]")
EMOTION = (*LORA, "dataset=emotion", "epochs=1")
IMDB = (*LORA, "dataset=imdb", "epochs=1")
HEAD = (*MINILM, "adapter=head", "dataset=emotion", "epochs=3")
AS_THEIRS = ("model.frozen_dropout=true", "dataset.length_bucketing=false")


def _rows(setting: Setting, count: int) -> str:
    return f"limit={count if setting.limit is None else setting.limit}"


def _task(setting: Setting, name: str, *run: str) -> Path:
    """Return a folder with the texts of a run; both sides tokenise in the first turn."""

    def make() -> Path:
        folder = setting.folder / f"{name}_task"
        folder.mkdir()
        setting.program("texts_task.py", folder, f"root={setting.folder / 'texts'}", *run)
        return folder

    made: Path = setting.once(name, make)
    return made


def _emotion(setting: Setting) -> Mapping[str, Side]:
    run = (*EMOTION, _rows(setting, 1000))
    task = _task(setting, "emotion", *run)
    return {
        OURS: lambda: setting.train("texts", *run, "study=emotion"),
        LIKE_THEIRS: lambda: setting.train("texts", *run, *AS_THEIRS, "study=alike"),
        THEIRS: lambda: setting.program("hf_trainer.py", task),
    }


def _imdb(setting: Setting) -> Mapping[str, Side]:
    run = (*IMDB, _rows(setting, 300))
    task = _task(setting, "imdb", *run)
    bf16, fp32 = (f"hardware.precision={p}" for p in ("bf16-mixed", "32-true"))
    return {
        BF16: lambda: setting.train("texts", *run, bf16, "study=imdb_bf16"),
        FP32: lambda: setting.train("texts", *run, fp32, "study=imdb"),
        THEIRS: lambda: setting.program("hf_trainer.py", task),
        THEIRS_BF16: lambda: setting.program("hf_trainer.py", task, "--bf16"),
    }


def _head(setting: Setting) -> Mapping[str, Side]:
    run = (*HEAD, _rows(setting, 1000))
    setting.once("head", lambda: setting.train("texts", *run, "study=head"))
    return {
        FOUND: lambda: setting.train("texts", *run, "study=head"),
        WITHOUT: lambda: setting.train("texts", *run, "hardware.frozen_prefix=never", "study=no"),
    }


def _bf16_lacking(setting: Setting) -> str | None:
    lacking = setting.lacking_texts("imdb")
    if lacking is None and not setting.has_bf16:
        return "neither this CPU nor a GPU here multiplies in bfloat16"
    return lacking


RACES = [
    Race(
        "emotion",
        "MiniLM, LoRA on query and value, 1,000 tweets a split, batch 16, 1 epoch",
        _emotion,
        lambda setting: setting.lacking_texts("emotion"),
    ),
    Race(
        "imdb",
        "MiniLM, LoRA on query and value, 300 reviews a split of up to 256 tokens, 1 epoch",
        _imdb,
        _bf16_lacking,
    ),
    Race(
        "head",
        "MiniLM, its head alone, 1,000 tweets a split, 3 epochs",
        _head,
        lambda setting: setting.lacking_texts("emotion"),
    ),
]

_NOT_EQUAL = (
    "Not equal: theirs draws the frozen encoder's dropout and pads random batches, as by default; "
    "ours has no dropout in frozen layers, and batches of like length."
)
_EQUAL = "Equal: ours draws the frozen encoder's dropout and pads random batches too."

ROWS = [
    Row("emotion", "MiniLM LoRA on emotion over HF Trainer + PEFT", "emotion",
        whole(OURS), whole(THEIRS), 0.50, _NOT_EQUAL),
    Row("emotion_training", "The same, training only", "emotion",
        training(OURS), training(THEIRS), None, _NOT_EQUAL),
    Row("emotion_equal", "The same with equal arithmetic", "emotion",
        whole(LIKE_THEIRS), whole(THEIRS), None, _EQUAL),
    Row("emotion_equal_training", "The same with equal arithmetic, training only", "emotion",
        training(LIKE_THEIRS), training(THEIRS), None, _EQUAL),
    Row("emotion_memory", "Peak of memory there", "emotion",
        memory(OURS), memory(THEIRS), 1.00, "Of the whole process, libraries included."),
    Row("imdb_bf16", "MiniLM LoRA on IMDb in bf16 over HF Trainer + PEFT", "imdb",
        whole(BF16), whole(THEIRS), 0.45,
        f"Theirs in fp32, its default. {_NOT_EQUAL}"),
    Row("imdb_fp32", "The same in fp32", "imdb", whole(FP32), whole(THEIRS), None, _NOT_EQUAL),
    Row("imdb_bf16_both", "The same, bf16 on both sides", "imdb",
        whole(BF16), whole(THEIRS_BF16), None, _NOT_EQUAL),
    Row("imdb_bf16_training", "bf16 over fp32, both ours, training only", "imdb",
        training(BF16), training(FP32)),
    Row("head_prefix", "Head-only, prefix found again, over training without one", "head",
        training(FOUND), training(WITHOUT), 0.02, "Finding the prefix counts as training."),
]  # fmt: skip
