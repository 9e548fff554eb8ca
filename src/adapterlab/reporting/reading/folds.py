"""Runs of the folds of one data set as one: every example tested once, by a model without it.

A set of runs that differ in their fold alone, one for each fold, is a run over all of the data set:
its predictions are those of its folds, its test metrics are of all of them together, and its other
metrics are means over the folds.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapterlab.base.dotted_names import within
from adapterlab.base.errors import AdapterLabError
from adapterlab.base.files import writing
from adapterlab.evidence.metrics import classification_metrics
from adapterlab.reporting.reading.logged import PREDICTIONS, artifact
from adapterlab.reporting.reading.naming import NO_NAMES
from adapterlab.reporting.reading.runs import NAMING, Replicate, Run, Status
from adapterlab.reporting.reading.study import TEST_EXAMPLES
from adapterlab.reporting.reading.versions import TAGS
from adapterlab.tracking.note_tags import NOTES, notes_in, notes_tag

FOLD, FOLDS = "dataset.loader.fold", "dataset.loader.folds"
_FOLDS = (FOLD, f"base.{FOLD}")

PARTS = "folds"
"""The tag of runs that are made of others: which folds they are over."""


def pooled(runs: Sequence[Run], cache: Path) -> tuple[list[Run], list[str]]:
    """Put runs of several folds together; all others stay as they are.

    Args:
        runs: of a study.
        cache: folder where predictions of folds are kept together.

    Returns:
        The runs, and a note for each data set whose folds were put together.
    """
    of_folds: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.params.get(FOLDS, "None") not in ("None", "") and FOLD in run.params:
            of_folds.setdefault((run.dataset, run.params[FOLDS]), []).append(run)
    kept, notes = list(runs), []
    for (dataset, count), some in of_folds.items():
        wanted = sorted({int(run.params[FOLD]) for run in some})
        if len(wanted) < 2:
            continue
        try:
            together = _sets(some, wanted, cache)
        except AdapterLabError as error:
            notes.append(f"{dataset}: folds are not put together: {error}")
            continue
        known = {run.run_id for run in some}
        kept = [run for run in kept if run.run_id not in known] + together
        of = f"all {count}" if len(wanted) == int(count) else f"{len(wanted)} of {count}"
        notes.append(
            f"{dataset}: {of} folds are one test, each example answered by a model that was not "
            "trained on it. Models of different folds share training rows, which no interval "
            "knows; metrics other than those of the test are means over folds"
        )
    return kept, notes


def _sets(runs: Sequence[Run], wanted: Sequence[int], cache: Path) -> list[Run]:
    groups: dict[tuple[str, Replicate], dict[int, Run]] = {}
    for run in runs:
        fold = int(run.params[FOLD])
        own = groups.setdefault((_key(run), run.replicate), {})
        known = own.get(fold)
        if known is None or _rank(run) > _rank(known):
            own[fold] = run
    return [_together(key, own, wanted, cache) for (key, _), own in groups.items()]


def _key(run: Run) -> str:
    """Return 12 hex digits for what runs of one arm share, whatever their fold."""
    ours = {k: v for k, v in run.params.items() if not within(k, (*NO_NAMES, *_FOLDS))}
    ours["hardware.precision"] = run.precision
    return hashlib.sha256(json.dumps(ours, sort_keys=True).encode()).hexdigest()[:12]


def _rank(run: Run) -> tuple[bool, int]:
    return run.status is Status.FINISHED, run.started


def _together(key: str, own: Mapping[int, Run], wanted: Sequence[int], cache: Path) -> Run:
    parts = [own[fold] for fold in sorted(own)]
    first = parts[0]
    tags = {**first.tags, PARTS: ",".join(map(str, wanted))}
    for tag in ("test_hash", *TAGS.values()):
        tags.pop(tag, None)  # what is not known of a set contradicts no other
        if len(own) == len(wanted) and all(part.tags.get(tag) for part in parts):
            tags[tag] = _digest([part.tags[tag] for part in parts])
    if NAMING in tags:
        tags[NAMING] = _without_fold(tags[NAMING])
    if NOTES in tags:  # what is said of one fold is not so of all
        said = [notes_in(part.tags) for part in parts]
        tags[NOTES] = notes_tag([one for one in said[0] if all(one in other for other in said)])
    status, reason = _outcome(own, wanted)
    made = replace(
        first,
        run_id="+".join(part.run_id for part in parts),
        arm=key,
        tags=tags,
        params={name: value for name, value in first.params.items() if name != FOLD},
        artifacts="",
        status=status,
        reason=reason,
        started=min(part.started for part in parts),
        metrics={},
    )
    if status is not Status.FINISHED:
        return made
    folder = cache / "folds" / _digest([part.run_id for part in parts])
    table = _predictions(parts, folder / PREDICTIONS)
    return replace(made, artifacts=str(folder), store=None, metrics=_metrics(parts, table))


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def _without_fold(told: str) -> str:
    kept = [option for option in shlex.split(told) if option.partition("=")[0].lstrip("+") != FOLD]
    return shlex.join(kept) or "none"


def _outcome(own: Mapping[int, Run], wanted: Sequence[int]) -> tuple[Status, str]:
    """Return what came of a set of folds: the worst of what came of each."""
    for fold in wanted:
        if fold not in own:
            return Status.FAILED, f"fold {fold} was not run"
        if own[fold].status is not Status.FINISHED:
            return own[fold].status, f"fold {fold}: {own[fold].reason}"
    return Status.FINISHED, ""


def _predictions(parts: Sequence[Run], path: Path) -> pa.Table:
    """Return the predictions of all folds in the order of the file's rows, and keep them.

    Raises:
        AdapterLabError: a run kept none, they do not name their rows, or a row was tested twice.
    """
    tables = []
    for part in parts:
        found = artifact(part, PREDICTIONS)
        if found is None:
            raise AdapterLabError(f"the run of {part.replicate} kept no predictions")
        table = pq.read_table(found)
        metadata = table.schema.metadata or {}
        if metadata.get(b"task", b"single_label") != b"single_label":
            raise AdapterLabError("examples have other than one label")
        if "row" not in table.column_names:
            raise AdapterLabError("predictions do not say which rows of the file they are of")
        tables.append(table)
    if any(table.column_names != tables[0].column_names for table in tables):
        raise AdapterLabError("predictions of some folds have other columns")
    whole = (
        pa.concat_tables(tables).sort_by("row").replace_schema_metadata(tables[0].schema.metadata)
    )
    rows = whole["row"].to_numpy()
    if len(np.unique(rows)) < len(rows):
        raise AdapterLabError("a row was tested in two folds")
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as file:
        pq.write_table(whole, file)
    return whole


def _metrics(parts: Sequence[Run], table: pa.Table) -> dict[str, float]:
    """Return the test's metrics over all folds, and means of all others."""
    shared = set.intersection(*(set(part.metrics) for part in parts))
    means = {
        name: float(np.mean([part.metrics[name] for part in parts]))
        for name in shared
        if not name.startswith("test/")
    }
    labels = table["label"].to_numpy()
    logits = np.array(table["logits"].to_pylist(), dtype=np.float64)
    classes = (table.schema.metadata or {}).get(b"classes", b"").decode().split("\n")
    scores = classification_metrics(logits, labels, classes)
    answered = {"test/classes_answered": float(len(np.unique(logits.argmax(axis=1))))}
    tests = {f"test/{name}": value for name, value in scores.items()} | answered
    return means | tests | {TEST_EXAMPLES: float(len(labels))}
