"""Make small sets of three other tasks from real tweets: python scripts/make_task_sets.py OUT.

Each is made from the emotion data set (Saravia et al. 2018), training rows from its training split
and test rows from its test split. No tweet stands twice in a split, so that rows are independent:

- `several/`: two or three tweets in a row; `labels` are the emotions in them (task=multi_label).
- `share/`: one to four tweets in a row; `share` says how many of them are glad (joy or love), from
  0 to 1 (task=regression).
- `pairs/`: two tweets, `first` and `second`; `same` says whether they have one emotion. Half do.
- `copies/`: a tweet, and two thirds of the words of one in another order; `copy` says whether they
  are its own, or of another tweet of the same emotion. Half are. No single word tells.

The tweets are real and in their own words; the tasks are ours, so that figures on them compare ways
to fine-tune with each other and with nothing that is published.
"""

import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import load_dataset

from adapterlab.app.script_options import Parser

CLASSES = ("sadness", "joy", "love", "anger", "fear", "surprise")
GLAD = {"joy", "love"}
ROWS = {"train": 4000, "test": 600}
_ENOUGH = 9
"""Words of a tweet of which some are left out."""

Tweets = Sequence[tuple[str, str]]
"""Texts with their emotions, shuffled."""


def main(arguments: Sequence[str]) -> int:
    """Write the sets, and say where they are."""
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder to write them into")
    parser.add_argument("--data", type=Path, help="folder with emotion/*.parquet; else the hub")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    asked = parser.parse_args(arguments)
    if asked.out.exists() and not asked.out.is_dir():
        parser.error(f"out: {asked.out} is a file; allowed: a folder, which is made")
    files = {split: _files(asked.data, split) for split in ROWS}
    if lacking := [split for split, found in files.items() if found == []]:
        parser.error(
            f"--data: {asked.data} holds no emotion/{lacking[0]}*.parquet; "
            f"allowed: a folder that has {', '.join(f'emotion/{split}.parquet' for split in ROWS)}"
        )
    for split, rows in ROWS.items():
        tweets = _read(files[split], split)
        for name, made in MAKERS:
            drawn = random.Random(f"{asked.seed}/{name}/{split}")
            shuffled = drawn.sample(tweets, len(tweets))
            path = asked.out / name / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(row) for row in made(shuffled, rows, drawn)]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            print(f"{path}: {rows} rows")
    return 0


def _files(data: Path | None, split: str) -> list[str] | None:
    """Return the files of a split in a folder; None where it is the hub's to have them."""
    if data is None:
        return None
    return sorted(str(path) for path in (data / "emotion").glob(f"**/{split}*.parquet"))


def _read(files: list[str] | None, split: str) -> Tweets:
    if files is None:
        found = load_dataset("dair-ai/emotion", "split", split=split)
    else:
        found = load_dataset("parquet", data_files=files, split="train")
    by_text = {row["text"]: CLASSES[row["label"]] for row in found}
    return list(by_text.items())


def _several(tweets: Tweets, rows: int, drawn: random.Random) -> Iterator[dict[str, Any]]:
    left = iter(tweets)
    for _ in range(rows):
        taken = [next(left) for _ in range(drawn.randint(2, 3))]
        found = {emotion for _, emotion in taken}
        yield {"text": _joined(taken), "labels": [name for name in CLASSES if name in found]}


def _share(tweets: Tweets, rows: int, drawn: random.Random) -> Iterator[dict[str, Any]]:
    left = {
        glad: iter([tweet for tweet in tweets if (tweet[1] in GLAD) == glad])
        for glad in (True, False)
    }
    for _ in range(rows):
        count = drawn.randint(1, 4)
        glad = drawn.randint(0, count)
        taken = [next(left[number < glad]) for number in range(count)]
        drawn.shuffle(taken)
        yield {"text": _joined(taken), "share": round(glad / count, 4)}


def _pairs(tweets: Tweets, rows: int, drawn: random.Random) -> Iterator[dict[str, Any]]:
    left = defaultdict(list)
    for text, emotion in tweets:
        left[emotion].append(text)
    for row in range(rows):
        same = row % 2 == 0
        usable = [name for name in CLASSES if len(left[name]) > 1]
        first = drawn.choice(usable)
        second = first if same else drawn.choice([name for name in usable if name != first])
        yield {
            "first": left[first].pop(),
            "second": left[second].pop(),
            "same": "yes" if same else "no",
        }


def _copies(tweets: Tweets, rows: int, drawn: random.Random) -> Iterator[dict[str, Any]]:
    left = defaultdict(list)
    for text, emotion in tweets:
        if len(text.split()) >= _ENOUGH:
            left[emotion].append(text)
    for row in range(rows):
        own = row % 2 == 0
        emotion = drawn.choice([name for name in CLASSES if len(left[name]) > 1])
        first = left[emotion].pop()
        words = (first if own else left[emotion].pop()).split()
        kept = drawn.sample(words, len(words) * 2 // 3)
        yield {"first": first, "second": " ".join(kept), "copy": "yes" if own else "no"}


def _joined(taken: Tweets) -> str:
    return " . ".join(text for text, _ in taken)


MAKERS = (("several", _several), ("share", _share), ("pairs", _pairs), ("copies", _copies))

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
