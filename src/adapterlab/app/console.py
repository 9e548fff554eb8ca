"""What people read on the terminal: the summary of a run, the table of a study."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapterlab.app.scores import TITLES
from adapterlab.app.scores import scores_of as _scores
from adapterlab.app.scores import share as _share
from adapterlab.base.amounts import duration
from adapterlab.base.errors import TrialPrunedError
from adapterlab.base.redaction import printable
from adapterlab.config.schema import Config
from adapterlab.config.tasks import LOWER_IS_BETTER, main_metric
from adapterlab.evidence.metrics import answers_one_class
from adapterlab.runs.folders.folder import OUTCOME, RunResult
from adapterlab.runs.identity import run_name

if TYPE_CHECKING:  # a plan should not wait for Lightning
    from adapterlab.reporting.report import Report
    from adapterlab.runs.evaluation import Evaluation
    from adapterlab.runs.export.merged import Export


class _Plain(Console):
    """Prints texts as texts: a name from a store or a file tells the terminal nothing."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return what rich makes of a text, without signs that a terminal obeys."""
        return super().render_str(printable(text), **options)


# Rich would read ``[a]`` in a name as markup, and without a terminal fold tables to 80 columns.
console = _Plain(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)


def number(value: float) -> str:
    """Write a count with thousands separators."""
    return f"{int(value):,}"


def print_result(result: RunResult, ui: str) -> None:
    """Print the summary of a run and where to look next."""
    metrics = result.metrics
    table = Table(title=result.name, title_justify="left", show_header=False)
    rows = [
        *_scores(metrics),
        ("base model", result.tags["base"]),
        ("best epoch on validation", number(metrics["best/epoch"])),
        ("source task before, after", _source(result)),
        ("trainable parameters", _parameters(metrics)),
        ("training", _cost(result)),
    ]
    if OUTCOME in result.tags:
        rows.append(("adapter", result.tags[OUTCOME]))
    for row in rows:
        table.add_row(*row)
    console.print(table)
    print_notes(result.notes)
    paths: dict[str, Path | str] = {"files": result.folder}
    if result.run_id is not None:
        paths |= {"MLflow run": result.run_id, "look at it": ui}
    print_paths(paths)


def print_line(result: RunResult, config: Config) -> None:
    """Print the one line that a run gets among many, by the name that its arm has in the study.

    Args:
        result: of the run.
        config: by which it was asked for.
    """
    main = main_metric(config.task)
    score = f"{TITLES[main]} {_share(result.metrics.get(f'test/{main}'))}"
    only = ", one class only" if answers_one_class(result.metrics) else ""
    print_text(f"{_among_many(config)}: {score} on the test split{only}, {_cost(result)}")


def print_pruned(error: TrialPrunedError, config: Config) -> None:
    """Print the line of a run that a pruner has stopped.

    Args:
        error: how.
        config: by which it was asked for.
    """
    best = f"validation {config.select_on} {_share(error.best)}"
    if config.select_on in ("mcc", *LOWER_IS_BETTER):
        best = f"validation {config.select_on} {error.best:.4f}"
    print_text(f"{_among_many(config)}: {error}, {best}")


def _among_many(config: Config) -> str:
    """Return the name of a run's arm, and its seed: what is varied is in it, and no more."""
    from adapterlab.reporting.reading.naming import told_name
    from adapterlab.reporting.reading.runs import Replicate

    if config.told is None:
        return run_name(config)
    replicate = Replicate(config.init_seed, config.order_seed, config.dataset.validation_seed)
    return f"{told_name(config.adapter['name'], config.told.naming)} {replicate}"


def print_tuning(
    arms: Sequence[str],
    settings: Sequence[Mapping[str, Any]],
    scores: Sequence[Sequence[float | None]],
    chosen: Sequence[int | None],
    metric: str,
    *,
    spreads: Sequence[Sequence[float | None]] = (),
    pruned: Sequence[Sequence[TrialPrunedError | None]] = (),
    close: Sequence[Sequence[tuple[int, float, float]]] = (),
) -> None:
    """Print what each arm reached on validation with each setting, and the one it is run with.

    Args:
        arms: their overrides.
        settings: what was tried with every arm.
        scores: by arm and setting; None where a run failed or was stopped early.
        chosen: the place of each arm's setting, None where all have failed.
        metric: that was measured.
        spreads: standard deviations over the tuning seeds, by arm and setting; None where there
            are none.
        pruned: how runs were stopped early, by arm and setting; None where they were not.
        close: for each arm the settings beside the chosen one that it is not clearly ahead of: the
            place, the difference and the standard error of that over the tuning seeds.
    """
    options = list(settings[0])
    names = [", ".join(str(value) for value in setting.values()) for setting in settings]
    spreads = spreads or [[None] * len(row) for row in scores]
    spread = any(value is not None for row in spreads for value in row)
    title = f"Validation {metric} by {', '.join(options)}"
    table = Table("arm", title=title, title_justify="left")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("chosen", justify="right", no_wrap=True)
    number = metric in ("mcc", *LOWER_IS_BETTER)
    write = "{:.4f}" if number else "{:.2%}"

    def much(value: float) -> str:
        return f"{value:.4f}" if number else f"{100 * value:.2f}"

    pruned = pruned or [[None] * len(row) for row in scores]

    def cell(score: float | None, deviation: float | None, early: TrialPrunedError | None) -> str:
        if early is not None:
            return f"{write.format(early.best)} at {early.epoch}"
        if score is None:
            return "failed"
        return write.format(score) + ("" if deviation is None else f" ± {much(deviation)}")

    for arm, row, deviations, stopped, place in zip(
        arms, scores, spreads, pruned, chosen, strict=True
    ):
        cells = [cell(*each) for each in zip(row, deviations, stopped, strict=True)]
        table.add_row(arm, *cells, "none" if place is None else names[place])
    console.print(table)
    if any(early is not None for row in pruned for early in row):
        print("at: pruned after so many epochs, with the best until then; never chosen")
    if spread:
        print("±: standard deviation over the tuning seeds")
    unit = "" if number else " points"
    for arm, place, beside in zip(arms, chosen, close or [()] * len(arms), strict=True):
        for other, difference, noise in beside if place is not None else ():
            ahead = f"is ahead of {names[other]} by {much(difference)}{unit}"
            print(
                f"{arm}: {names[place or 0]} "
                f"{ahead if difference else f'does no better than {names[other]}'}; "
                f"the standard error of that over tuning seeds is {much(noise)}{unit}"
            )


def print_evaluation(evaluation: "Evaluation") -> None:
    """Print metrics beside those that the run logged."""
    title = f"{evaluation.name} on {evaluation.split}"
    table = Table("metric", title=title, title_justify="left", min_width=len(title))
    table.add_column("now", justify="right")
    table.add_column("logged", justify="right")
    for name, value in evaluation.metrics.items():
        logged = evaluation.logged.get(name)
        table.add_row(name, f"{value:.6f}", "-" if logged is None else f"{logged:.6f}")
    console.print(table)
    differences = evaluation.differences()
    if differences:
        name, gap = max(differences.items(), key=lambda item: abs(item[1]))
        console.print(f"differs from the logged metrics, most in {name}: by {gap:.3g}")
    elif evaluation.logged:
        console.print("equal to the logged metrics, to the last digit")
    print_notes(evaluation.notes)


def print_export(export: "Export") -> None:
    """Print where a merged model is, that it is the run's, and how to load it."""
    agreement = export.agreement
    print_paths(
        {
            "merged model of": export.name,
            "written to": export.folder,
            "files": f"{', '.join(export.files)}: {number(export.size)} bytes",
            "parameters": number(export.parameters),
            "logits": f"at most {agreement.difference:.3g} from the adapted model's, over "
            f"{number(agreement.examples)} examples (the largest is {agreement.largest:.3g})",
            "load it": export.usage,
        }
    )


_NAMES = 22
"""Characters of an arm's name that stand in a line of the table at least."""


def print_report(report: "Report", paths_after: Mapping[str, str] | None = None) -> None:
    """Print a study's verdict, its table in short, what to know about it, and where the page is.

    Args:
        report: of the study.
        paths_after: what else there is to look at, and where.
    """
    for place, findings in enumerate(report.tasks):
        of = f" on {findings.task}" if len(report.tasks) > 1 else ""
        table = Table(title=f"Study {findings.study}{of}", title_justify="left")
        short = report.table(place)
        for name in short.header:
            table.add_column(
                name,
                justify="left" if name in ("arm", "verdict") else "right",
                overflow="fold",  # a name cut short is that of several arms
                min_width=_NAMES if name == "arm" else None,
            )
        for row in short.rows:
            table.add_row(*row)
        console.print(table)
    for sentence in report.page.verdict:
        print_text(sentence)
    print_notes(report.page.notes)
    paths: dict[str, Path | str] = {}
    if report.folder is not None and report.html is not None:
        paths |= {"report": report.html, "as text, tables, pictures": report.folder}
    all_runs = {"all runs": "make ui, or see docs/runs.md for what they log"}
    print_paths({**paths, **(paths_after or {}), **all_runs})


def print_paths(paths: Mapping[str, Path | str]) -> None:
    """Print where things are."""
    width = max(len(name) for name in paths) + 1
    for name, path in paths.items():
        print_text(f"{name + ':':<{width}} {path}")


def print_text(text: str, style: str | None = None) -> None:
    """Print a line as it is: rich would fold paths."""
    console.print(text, style=style, soft_wrap=True)


def print_notes(notes: Sequence[str]) -> None:
    """Print what there is to know of a result, a line each."""
    for note in notes:
        print_text(f"note: {note}", style="yellow")


def _source(result: RunResult) -> str:
    before = result.metrics.get("source/accuracy_before")
    after = result.metrics.get("source/accuracy_after")
    if after is None:
        return f"not measured: {result.missing['source/accuracy_after']}"
    return f"{_share(before)}, {_share(after)}"


def _parameters(metrics: Mapping[str, float]) -> str:
    return (
        f"{number(metrics['params/trainable'])} (adapter {number(metrics['params/adapter'])}, "
        f"head {number(metrics['params/head'])}) of {number(metrics['params/total'])}"
    )


def _cost(result: RunResult) -> str:
    seconds = result.metrics.get("cost/train_seconds")
    lane_seconds = result.metrics.get("cost/lane_seconds")
    if lane_seconds is not None:
        return f"{duration(lane_seconds)}, its share in a pack of {result.tags['pack_size']}"
    if seconds is None:
        missing = result.missing
        why = missing.get("cost/lane_seconds", missing["cost/train_seconds"])
        return f"seconds not measured: {why}"
    rate = result.metrics.get("cost/samples_per_second")
    prefix = result.metrics.get("cost/prefix_seconds", 0.0)
    parts = [duration(seconds)]
    if prefix > 0 and not str(result.tags.get("frozen_prefix", "")).startswith("off"):
        parts.append(f"{duration(prefix)} of them for the frozen prefix")
    if rate is not None:
        parts.append(f"{number(rate)} samples/s" + (" after it" if len(parts) > 1 else ""))
    return ", ".join(parts)
