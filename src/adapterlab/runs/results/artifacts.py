"""The files that a run leaves: adapter, predictions, pictures, mistakes."""

import logging
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from adapterlab.adapters import AdaptedModel, save_adapter
from adapterlab.adapters.formats.peft import save_peft
from adapterlab.adapters.methods.continued import Continued
from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config, PretrainedBase
from adapterlab.config.tasks import Task, main_metric
from adapterlab.drawing.pictures import Pictures
from adapterlab.models.protocol import adaptable
from adapterlab.runs.assembly import Assembly
from adapterlab.runs.folders.folder import LAST_PICTURE, RunFolder
from adapterlab.runs.identity import run_name
from adapterlab.runs.kept_beside import IMAGES, SCALE, written
from adapterlab.runs.own_unit import for_a_while
from adapterlab.runs.peft_base import OWN_UNIT, UNIT
from adapterlab.runs.preprocessing import rows_called
from adapterlab.runs.results.mistakes import write_mistakes
from adapterlab.runs.results.task_mistakes import write_task_mistakes
from adapterlab.training.outcome import Training
from adapterlab.training.predictions import Predictions

log = logging.getLogger(__name__)

_HUB = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)


def known_elsewhere(name_or_path: str | None) -> str | None:
    """Return by what name others find a base.

    None if there is none, and for a path, which means nothing on another machine. The name that a
    folder's config.json may have is of what its weights were made from, not of them.
    """
    name = name_or_path
    if not isinstance(name, str) or not _HUB.fullmatch(name) or Path(name).exists():
        return None
    return name


def _base_elsewhere(config: Config, adapted: AdaptedModel) -> str | None:
    """Return by what name others find the weights that were adapted; None for weights of here."""
    own = isinstance(config.base, PretrainedBase) or isinstance(adapted.strategy, Continued)
    return known_elsewhere(adaptable(adapted.model).name_or_path) if own else None


def write_files(
    config: Config,
    assembly: Assembly,
    training: Training,
    test: Predictions,
    source: Predictions | None,
    folder: RunFolder,
    pictures: Pictures,
) -> None:
    """Write everything but the result, which says that the run has finished.

    Pictures are there when `pictures` says so.

    Args:
        config: of the run.
        assembly: of the run, trained.
        training: what came of it.
        test: on the test split.
        source: on the source task's test split; None without a source.
        folder: of the run.
        pictures: draws those of the run.
    """
    adapted = assembly.adapted
    extra: dict[str, Any] = {
        "classes": assembly.data.classes,
        "vocabulary": assembly.inputs.vocabulary,
    }
    if config.task == "regression":
        extra[SCALE] = written(assembly.data.scale)
    if assembly.read.shape is not None:
        extra[IMAGES] = assembly.read.shape
    save_adapter(adapted, folder.adapter, extra=extra)
    try:
        name, revision = _base_elsewhere(config, adapted), config.model.get("revision")
        # Whoever loads it elsewhere knows of no scale.
        with for_a_while(adapted.model, assembly.data.scale):
            save_peft(
                adapted,
                folder.peft,
                base_name=name,
                base_revision=revision if name else None,
                classes=assembly.data.classes,
                more={UNIT: OWN_UNIT} if config.task == "regression" else {},
            )
    except ConfigError as error:
        log.debug("not in PEFT's format: %s", error)
    rows = rows_called(config, assembly.read.target, "test")
    test.write(folder.predictions, rows=rows)
    if source is not None and assembly.read.source is not None:
        of_source = rows_called(config, assembly.read.source, "test")
        source.write(folder.source_predictions, rows=of_source, logits=False)
    title = run_name(config)
    if pictures.are_drawn:
        confusing = test if test.task == "single_label" else None
        history, best = training.history, training.best_epoch
        draw(history, best, test.task, confusing, title, folder, pictures)
    if test.task != "single_label":
        write_task_mistakes(folder.mistakes, test, assembly.examples, rows=rows)
        return
    write_mistakes(
        folder.mistakes, test, assembly.examples, title=title, rows=rows, pictures=pictures
    )


def draw(
    history: Mapping[int, Mapping[str, float]],
    best_epoch: int,
    task: Task,
    test: Predictions | None,
    title: str,
    folder: RunFolder,
    pictures: Pictures,
) -> None:
    """Draw which classes are taken for which, and loss and main metric over the epochs.

    Args:
        history: metrics by epoch, from 1.
        best_epoch: the one whose parameters were kept.
        task: what examples are labelled for.
        test: on the test split; None where examples do not have one label each.
        title: of the pictures.
        folder: of the run.
        pictures: draws those of the run; the curves last, which tell `deferred_pictures` of all.
    """
    from adapterlab.drawing.figures import confusion_matrix_figure, learning_curves_figure

    folder.figures.mkdir(exist_ok=True)
    if test is not None:
        matrix = partial(confusion_matrix_figure, test.confusion(), test.classes, title)
        pictures.draw(matrix, folder.figures / "confusion_matrix.png")
    main = main_metric(task)
    curves = {
        name: [(epoch, one[name]) for epoch, one in sorted(history.items()) if name in one]
        for name in ("train/loss", "val/loss", f"train/{main}", f"val/{main}")
    }
    figure = partial(learning_curves_figure, curves, title, best_epoch=best_epoch, metric=main)
    pictures.draw(figure, folder.figures / LAST_PICTURE)
