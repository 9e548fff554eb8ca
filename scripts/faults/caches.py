"""Files of zeros, cut short, changed or swapped in every cache; the next run must notice.

Caches are decoded images, cuts, tokens, features of frozen layers, and bases that were trained.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from faults import results, warm
from faults.trying import TINY, Setting, Trial

COUNT = 40

_OPTIONS = tuple(option for option in TINY if not option.startswith(("dataset=", "base.", "limit")))
_TEXTS = (
    *("dataset=text_files", "model=bert_tiny", "model.vocab_size=96", "model.hidden_size=16"),
    *("dataset.max_length=16", "adapter=head", "base=scratch", "batch_size=16"),
)

RUNS: dict[str, tuple[tuple[str, ...], str]] = {
    "images": (("dataset=image_folder", "base=scratch"), "mlruns/cache/*.safetensors"),
    "texts": (_TEXTS, "mlruns/cache/*.safetensors"),
    "bases": (("dataset=digits_rotated", "base.epochs=2", "limit=96"), "mlruns/runs/bases/*/*.*"),
}
"""What is run, and the files that the next run finds."""

NOTICED = ("is damaged", "is made again", "brought back", "is not a run's result")
"""One of these is said."""


def _zeros(path: Path, other: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _cut_short(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def _emptied(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def _changed(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def _swapped(path: Path, other: Path) -> None:
    content = path.read_bytes()
    shutil.copy(other, path)
    other.write_bytes(content)


DAMAGES: dict[str, Callable[[Path, Path], None]] = {
    "zeros": _zeros,
    "cut short": _cut_short,
    "emptied": _emptied,
    "one bit changed": _changed,
    "swapped": _swapped,
}


def tries(setting: Setting) -> Iterator[Trial]:
    """Fill the caches of three runs, then damage a file by chance and run again, over and over."""
    wholes: dict[str, results.Metrics] = {}
    for number in range(setting.count):
        kind = list(RUNS)[number % len(RUNS)]
        damage = list(DAMAGES)[number // len(RUNS) % len(DAMAGES)]
        root = setting.folder / kind
        arguments = (*_data(kind, setting.folder), *_OPTIONS, *RUNS[kind][0], "study=cached")
        if kind not in wholes:
            root.mkdir()
            ended = warm.command(root, *arguments)
            wholes[kind] = results.metrics(root)
            if ended.code or not wholes[kind]:
                yield Trial(f"{kind}: none", False, f"the first run ended with {ended}")
                return
        files = _found_files(root, RUNS[kind][1])
        path = setting.rng.choice(files)
        other = setting.rng.choice([file for file in files if file != path])
        yield Trial(
            f"{kind}: {damage}", *_tried(root, arguments, damage, path, other, wholes[kind])
        )


def _tried(
    root: Path,
    arguments: Sequence[str],
    damage: str,
    path: Path,
    other: Path,
    whole: results.Metrics,
) -> tuple[bool, str]:
    DAMAGES[damage](path, other)
    ended = warm.command(root, *arguments)
    wrong = ended.complaint or (f"exit {ended.code}" if ended.code else None)
    if wrong is None and not any(words in ended.err for words in NOTICED):
        wrong = "nothing was said"
    if wrong is None and results.metrics(root) != whole:
        wrong = "other figures"
    if wrong is None:
        return True, "noticed, made again, the same figures"
    shutil.rmtree(root / "mlruns" / "cache", ignore_errors=True)  # for those that come after
    return False, f"{wrong}: {path.name} {damage} ({other.name}), {' '.join(arguments)}"


def _found_files(root: Path, pattern: str) -> list[Path]:
    """Return the files of a cache; of a base, those that runs read or that it promises."""
    kept = ("adapter.safetensors", "predictions.parquet", "result.json")
    found = sorted(root.glob(pattern))
    return [path for path in found if path.parent.name == "cache" or path.name in kept]


def _data(kind: str, folder: Path) -> tuple[str, ...]:
    place = folder / f"data-{kind}"
    if kind == "images":
        _write_images(place)
    elif kind == "texts":
        _write_texts(place)
    else:
        return ()
    return (f"+dataset.loader.path={place}",)


def _write_images(place: Path) -> None:
    for split, count in (("train", 20), ("test", 8)):
        for label in range(2):
            inside = place / split / f"class {label}"
            if inside.exists():
                continue
            inside.mkdir(parents=True)
            for number in range(count):
                noise = np.random.default_rng([label, number, count]).integers(0, 60, (10, 10, 3))
                pixels = (noise + 120 * label).astype(np.uint8)
                Image.fromarray(pixels).save(inside / f"{number}.png")


def _write_texts(place: Path) -> None:
    if place.exists():
        return
    place.mkdir(parents=True)
    words = (("good", "fine", "great"), ("bad", "poor", "dull"))
    for split, count in (("train", 96), ("test", 48)):
        lines = ["text,label"]
        for number in range(count):
            label = number % 2
            adjective = words[label][number // 2 % 3]
            lines.append(f"a {adjective} film number {number} of {split},{label}")
        (place / f"{split}.csv").write_text("\n".join(lines) + "\n")
