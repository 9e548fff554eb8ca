"""Reviews whose one adjective says their label, and a small random BERT for them."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import torch

from adapterlab.config.schema import Config
from adapterlab.runs.evaluation import Request, evaluate_saved
from adapterlab.runs.folders.folder import RunResult
from lab import ONE_THREAD, tiny

GOOD, BAD = ("good", "fine", "lovely", "great"), ("bad", "poor", "awful", "dull")
NOUNS = ("film", "book", "play", "song", "meal")

SMALL = (
    "model=bert_tiny",
    "model.vocab_size=96",
    "model.hidden_size=16",
    "model.max_tokens=24",
    "dataset.max_length=16",
    "batch_size=16",
    "optimizer.lr=0.01",
)


def write_reviews(folder: Path, *, seed: int = 0, good: str = "good", bad: str = "bad") -> Path:
    """Write reviews whose one adjective says their label, 96 / 48, a third of them long."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(seed)

    def pick(words: tuple[str, ...]) -> str:
        return words[int(torch.randint(len(words), (), generator=draw))]

    for split, size in (("train", 96), ("test", 48)):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("text", "label"))
            for i in range(size):
                tail = f" and the {pick(NOUNS)} went on and on" if i % 3 == 0 else ""
                adjective = pick(GOOD if i % 2 else BAD)
                rows.writerow((f"a {adjective} {pick(NOUNS)}{tail}", good if i % 2 else bad))
    return folder


def small(root: Path, reviews: Path, *overrides: str) -> Config:
    """Compose a run on the reviews; a later override wins over `SMALL`."""
    chosen = {override.partition("=")[0] for override in overrides}
    kept = [option for option in SMALL if option.partition("=")[0] not in chosen]
    base = (
        []
        if any(o.startswith(("base=trained", "base=checkpoint")) for o in overrides)
        else ["base=scratch"]
    )
    files = ["dataset=text_files", f"dataset.loader.path={reviews}"]
    return tiny(root, "limit=null", *files, *base, *kept, *overrides)


def evaluated(
    result: RunResult, split: str = "test", data_dir: Path | None = None
) -> dict[str, float]:
    """Evaluate a run again."""
    request = Request(
        run=str(result.folder),
        split=split,  # type: ignore[arg-type]
        tracking_uri=None,
        root=str(result.folder.parents[3]),
        data_dir=data_dir and str(data_dir),
        hardware=ONE_THREAD,
    )
    return dict(evaluate_saved(request).metrics)


def logits(result: RunResult) -> torch.Tensor:
    """Return the test logits that a run wrote when it had been trained."""
    table = pq.read_table(result.folder / "predictions.parquet")
    return torch.tensor(table["logits"].to_pylist(), dtype=torch.float64)
