"""What grows: lanes, ranks, rows of text, tokens of a text, arms of a study, runs of a store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benching.samples import Sample
from benching.setting import Setting
from benching.themes.lanes import PACKED, TINY, seeds

from growing.stores import fill

CPU, TRAINING, MIB = "CPU s", "training, CPU s", "MiB"
FIRST, AGAIN, DISK = "first run, CPU s", "the same again, CPU s", "on disk, MiB"
START, RESUME, REPORT, STATUS = (
    f"{what}, CPU s" for what in ("a run alone", "resume", "report", "status")
)
MIB_BYTES = 2**20

BARE = ("figures=never", "baseline=never")

WORDS = 3000
"""Of which texts are made; as many words as a small data set has."""

Values = Mapping[str, float]
Point = tuple[int, Values]


@dataclass(frozen=True)
class Axis:
    """One thing of which there is more and more.

    Attributes:
        name: by which it is asked for.
        title: what grows, and under what.
        one: of what it is counted.
        sizes: from few to many.
        measure: yields what each size takes, size by size.
        lacking: says what is missing here; None where all is there.
    """

    name: str
    title: str
    one: str
    sizes: Sequence[int]
    measure: Callable[[Setting, Sequence[int]], Iterator[Point]]
    lacking: Callable[[Setting], str | None] = lambda setting: None


def _taken(sample: Sample) -> dict[str, float]:
    return {CPU: sample["cpu"], TRAINING: sample["training_cpu"], MIB: sample["mib"]}


def _lanes(setting: Setting, sizes: Sequence[int]) -> Iterator[Point]:
    own = (
        "adapter=lora", f"dataset={setting.images}", "model.widths=[128]", "epochs=1",
        *setting.base(setting.images), "limit=6000", "order_seed=0", "pack=always", *PACKED, *BARE,
    )  # fmt: skip
    setting.train("lanes", *own, seeds(2), "study=first")
    for size in sizes:
        yield size, _taken(setting.train("lanes", *own, seeds(size), f"study=lanes{size}"))


def _ranks(setting: Setting, sizes: Sequence[int]) -> Iterator[Point]:
    own = (
        "adapter=lora", f"dataset={setting.images}", "model.widths=[512,512]", "epochs=1",
        "base=scratch", "limit=6000", seeds(4), "order_seed=0", *PACKED, *BARE,
    )  # fmt: skip
    setting.train("ranks", *own, "adapter.rank=1", "study=first")
    for size in sizes:
        yield size, _taken(setting.train("ranks", *own, f"adapter.rank={size}", f"study=r{size}"))


def _write_texts(folder: Path, rows: int, words: int) -> None:
    """Write texts of random words, of which the first says the class, and a test split of 100."""
    folder.mkdir(parents=True)
    drawn = np.random.default_rng(0)
    for name, count in (("train", rows), ("test", 100)):
        labels = drawn.integers(0, 2, count)
        with (folder / f"{name}.csv").open("w") as file:
            file.write("text,label\n")
            for label in labels:
                of_row = drawn.integers(0, WORDS, words)
                file.write(f"class{label} {' '.join(f'w{n}' for n in of_row)},{label}\n")


def _rows(setting: Setting, sizes: Sequence[int]) -> Iterator[Point]:
    for size in sizes:
        texts, root = setting.folder / f"texts{size}", setting.folder / f"rows{size}"
        _write_texts(texts, size, 12)
        own = (
            "dataset=text_files", f"dataset.loader.path={texts}", "dataset.max_length=16",
            "model=bert_tiny", "base=scratch", "adapter=head", "epochs=1", "batch_size=256", *BARE,
        )  # fmt: skip
        first = setting.train(root.name, *own, "study=first")
        again = setting.train(root.name, *own, "study=again")
        files = (root / "mlruns" / "cache").rglob("*")
        kept = sum(file.stat().st_size for file in files if file.is_file())
        yield size, {
            FIRST: first["cpu"], AGAIN: again["cpu"], MIB: first["mib"], DISK: kept / MIB_BYTES
        }  # fmt: skip


def _lengths(setting: Setting, sizes: Sequence[int]) -> Iterator[Point]:
    texts = setting.folder / "long"
    _write_texts(texts, 64, max(sizes))
    own = (
        "dataset=text_files", f"dataset.loader.path={texts}", "model=minilm", "adapter=lora",
        "epochs=1", "batch_size=8", "limit={train: 56, validation: 8}", *BARE,
    )  # fmt: skip
    for size in sizes:
        sample = setting.train("long", *own, f"dataset.max_length={size}", f"study=l{size}")
        yield size, _taken(sample)


def _arms(setting: Setting, sizes: Sequence[int]) -> Iterator[Point]:
    own = (*TINY, *setting.base("digits"), *PACKED, *BARE)
    for size in sizes:
        alphas, study = ",".join(map(str, range(1, size + 1))), f"arms{size}"
        setting.train("arms", *own, f"adapter.alpha={alphas}", seeds(3), f"study={study}")
        report = setting.script("report.py", "arms", study)
        yield size, {REPORT: report["cpu"], MIB: report["mib"]}


def _store(setting: Setting, sizes: Sequence[int]) -> Iterator[Point]:
    tiny = (*TINY, *setting.base("digits"), *BARE)
    study = (*tiny, *PACKED, "adapter.rank=2,4", seeds(5), "study=own")
    setting.train("store", *study)
    for size in sizes:
        fill(setting.folder / "store" / "mlruns", "own", size)
        alone = setting.train("store", *tiny, f"study=alone{size}")
        again = setting.train("store", *study, "resume=true")
        report = setting.script("report.py", "store", "own")
        status = setting.script("status.py", "store", "own")
        yield size, {
            START: alone["cpu"], RESUME: again["cpu"], REPORT: report["cpu"],
            STATUS: status["cpu"], MIB: report["mib"],
        }  # fmt: skip


AXES = [
    Axis("lanes", "Lanes of a pack: LoRA of rank 8 on a 784-128-10 MLP, 6,000 images, 1 epoch",
         "lane", (1, 2, 4, 8, 16, 32, 64, 128, 256), _lanes),
    Axis("ranks", "LoRA's rank: 4 lanes on a 784-512-512-10 MLP, 6,000 images, 1 epoch",
         "rank", (1, 4, 16, 64, 256), _ranks),
    Axis("rows", "Rows of text: the head of a small BERT, tokens and frozen prefix made and found",
         "row", (1_000, 10_000, 100_000, 1_000_000), _rows),
    Axis("length", "Tokens of a text: LoRA on MiniLM, 56 texts, 1 epoch",
         "token", (16, 32, 64, 128, 256, 512), _lengths, lambda setting: setting.lacking_texts()),
    Axis("arms", "Arms of a study, 3 seeds each: its report", "arm", (2, 10, 50, 200), _arms),
    Axis("store", "Runs of other studies in the store, beside a study of 10",
         "run", (10, 100, 1_000, 10_000), _store),
]  # fmt: skip
