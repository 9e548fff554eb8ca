"""Write the texts that a run would train on, and the network's folder, for scripts.

    python scripts/benchmarks/sides/texts_task.py FOLDER root=... model=minilm dataset=emotion ...

FOLDER gets train.parquet, validation.parquet and test.parquet with `text` and `label`, and
task.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import hydra
import pyarrow as pa
import pyarrow.parquet as pq

from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.config.parsing import parse, to_container
from adapterlab.models.hub import minilm_source
from adapterlab.runs.data import load_data
from adapterlab.runs.preprocessing import run_splits


def main() -> None:
    folder, *overrides = sys.argv[1:]
    conf_folder.register_resolvers()
    with composing(conf_folder.CONF):
        config = parse(hydra.compose("train", overrides))
    target: Any = load_data(config).target
    splits = run_splits(config, config.dataset, target)
    for name, split in zip(("train", "validation", "test"), splits, strict=True):
        table = pa.table({"text": list(split.texts), "label": split.labels.tolist()})
        pq.write_table(table, Path(folder) / f"{name}.parquet")
    task = {
        "model": minilm_source(),
        "classes": len(target.classes),
        "max_length": to_container(config)["dataset"]["max_length"],
        "batch_size": config.batch_size,
        "epochs": config.epochs,
        "lr": config.optimizer.lr,
        "weight_decay": config.optimizer.weight_decay,
        "warmup": config.optimizer.warmup,
    }
    (Path(folder) / "task.json").write_text(json.dumps(task))


if __name__ == "__main__":
    main()
