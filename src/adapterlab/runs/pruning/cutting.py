"""Cutting ranks out of a finished run's adapter: a run of its own, of which nothing is trained.

How much is kept is chosen on the validation split. The test split is read once, at the end, by
what was chosen.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from adapterlab.adapters.pruning import (
    Cut,
    Spectrum,
    cut,
    pruned_options,
    spectra,
    take_pruned,
    why_not_prunable,
)
from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.config.bookkeeping import FileName, Told
from adapterlab.config.domains import NotNegative, Part
from adapterlab.config.ranks import Pruned
from adapterlab.config.schema import Config
from adapterlab.config.tasks import LOWER_IS_BETTER, main_metric
from adapterlab.config.validation import STRICT, checked
from adapterlab.runs.assembly import Assembly, assemble
from adapterlab.runs.check import check
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.folders.homes import home_of
from adapterlab.runs.identity import run_name
from adapterlab.runs.lifecycle import OpenRun, open_run
from adapterlab.runs.pruning.curve import Curve, Point, write_curve
from adapterlab.runs.saved import Rebuilt, SavedRun, rebuild
from adapterlab.runs.single import run
from adapterlab.runs.sketch import make_strategy
from adapterlab.runs.state import taken_up
from adapterlab.training.hardware import Device, choose_device
from adapterlab.training.outcome import Training
from adapterlab.training.predicting import predict
from adapterlab.training.prefix.frozen_prefix import Prefix
from adapterlab.training.task_predictions import settled

_NOT_TRAINED = "ranks were cut out of a trained run, and nothing was trained"


def _in_a_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Request(SavedRun):
    """Which run to prune, and how far; see conf/prune.yaml.

    Attributes:
        keep: share of the updates' parameters, or several to choose among.
        margin: points on validation that fewer parameters may cost.
        study: of the pruned run.
        resume: return a pruned run that is there already.
        log_run: to MLflow.
    """

    keep: Annotated[list[Part], Field(min_length=1), BeforeValidator(_in_a_list)]
    margin: NotNegative = 0.5
    study: FileName | None = None
    resume: bool = True
    log_run: bool = True


@dataclass(frozen=True)
class Pruning:
    """A pruned run.

    Attributes:
        name: of the run that was trained.
        main: the metric of the test split that is shown.
        before: its metrics.
        curve: what the choice saw.
        ranks: by layer, of those that keep any.
        result: of the pruned run.
        found: whether it was there already.
    """

    name: str
    main: str
    before: Mapping[str, float]
    curve: Curve
    ranks: Mapping[str, int]
    result: RunResult
    found: bool = field(default=False)


def parse_request(values: Any) -> Request:
    """Check the options of a pruning.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    return checked(TypeAdapter(Request), values)


def prune_saved(request: Request) -> Pruning:
    """Prune a saved run's adapter, and test what was chosen.

    Raises:
        AdapterLabError: there is no such finished run, its adapter has no ranks to cut out, or a
            share has no room for any.
    """
    rebuilt = rebuild(request, _require_prunable)
    config, trained = rebuilt.config, rebuilt.assembly
    device = choose_device(config.hardware)
    found = spectra(trained.adapted)
    cuts, left_out = _cuts(found, request.keep)
    main = main_metric(config.task)
    metric = main if config.select_on in LOWER_IS_BETTER else config.select_on
    points = []
    for one in cuts:
        pruned = _assembled(_config(request, rebuilt, one), trained, found, one)
        points.append(
            Point(
                keep=one.keep,
                ranks=sum(one.ranks.values()),
                parameters=one.parameters,
                threshold=one.threshold,
                score=_score(pruned, device, metric),
            )
        )
    curve = Curve(
        metric=metric,
        points=tuple(points),
        whole=_score(trained, device, metric),
        trained=cuts[0].trained,
        ranks=sum(cast(Any, trained.adapted.model.get_submodule(n)).rank for n in found),
        layers=len(found),
        margin=request.margin,
        left_out=left_out,
    )
    chosen = cuts[curve.points.index(curve.chosen)]
    result, there = _as_run(request, rebuilt, found, chosen, curve, device)
    ranks = {name: rank for name, rank in chosen.ranks.items() if rank}
    return Pruning(run_name(config), main, rebuilt.result.metrics, curve, ranks, result, there)


def _cuts(
    found: Mapping[str, Spectrum], keep: Sequence[float]
) -> tuple[list[Cut], tuple[str, ...]]:
    """Return what each share leaves, and why some leave nothing.

    Raises:
        ConfigError: none leaves anything.
    """
    cuts: list[Cut] = []
    refused: list[ConfigError] = []
    for share in dict.fromkeys(keep):
        try:
            cuts.append(cut(found, share))
        except ConfigError as error:
            refused.append(error)
    if not cuts:
        raise refused[-1]
    return cuts, tuple(map(str, refused))


def _require_prunable(config: Config) -> None:
    name = run_name(config)
    if config.pruned is not None:
        raise AdapterLabError(f"{name} is pruned already; prune {config.pruned.run} instead")
    if (why := why_not_prunable(make_strategy(config))) is not None:
        raise AdapterLabError(f"{name} cannot be pruned: {why}")


def _score(assembly: Assembly, device: Device, metric: str) -> float:
    """Return a metric on validation; what no label there defines is 0, as while training."""
    return _validated(assembly, device, metric).get(metric, 0.0)


def _validated(assembly: Assembly, device: Device, metric: str) -> dict[str, float]:
    """Return metrics on validation: of several labels, at the thresholds that are best there."""
    said = predict(assembly.adapted, assembly.data, "validation", device.torch)
    return settled(said, metric, lambda: said).metrics()


def _config(request: Request, rebuilt: Rebuilt, one: Cut) -> Config:
    """Return the configuration of the pruned run."""
    config, adapter = rebuilt.config, rebuilt.config.adapter
    options = pruned_options(rebuilt.assembly.adapted, one.ranks)
    label = f"{adapter.get('label', adapter['name'])}-kept{one.keep:g}"
    tried = list(dict.fromkeys(request.keep))
    told = config.told
    if told is not None:
        asked = f"pruned=[{','.join(f'{keep:g}' for keep in tried)}]"
        told = Told(options=[*told.options, asked], naming=[*told.naming, asked])
    return replace(
        config,
        adapter={**adapter, **options, "label": label},
        pruned=Pruned(
            run=run_name(config),
            adapter_sha256=rebuilt.result.tags["adapter_sha256"],
            adapter=config.ranks.asked or adapter,
            keep=one.keep,
            tried=tried,
            margin=request.margin,
        ),
        told=told,
        budget=None,
        ranks=replace(config.ranks, asked=None),
        study=request.study,
        resume=request.resume,
        tracking=replace(config.tracking, enabled=request.log_run),
    )


def _assembled(
    config: Config, trained: Assembly, found: Mapping[str, Spectrum], one: Cut
) -> Assembly:
    """Return the pruned model over the trained one's data and base."""
    check(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were for the training
        assembly = assemble(config, train=run, like=trained)
    take_pruned(assembly.adapted, trained.adapted, found, one)
    return assembly


def _as_run(
    request: Request,
    rebuilt: Rebuilt,
    found: Mapping[str, Spectrum],
    chosen: Cut,
    curve: Curve,
    device: Device,
) -> tuple[RunResult, bool]:
    """Write the pruned run, and measure it once on the test split; or return it if it is there."""
    config = _config(request, rebuilt, chosen)
    read = rebuilt.assembly.read
    folder = home_of(config, read.hash)
    with folder.lock(wait=False):
        keep, finished = taken_up(config, folder, read)
        if finished is not None:
            return finished, True
        assembly = _assembled(config, rebuilt.assembly, found, chosen)
        notes = (*rebuilt.assembly.notes, f"pruned from {run_name(rebuilt.config)}: {curve.why}")
        assembly = replace(assembly, notes=tuple(dict.fromkeys(notes)))
        with open_run(config, assembly, device, folder, keep=keep) as opened:
            write_curve(opened, curve)
            return _finish(opened, rebuilt, device), False


def _finish(opened: OpenRun, rebuilt: Rebuilt, device: Device) -> RunResult:
    assembly = opened.assembly
    epoch = int(rebuilt.result.metrics.get("best/epoch", 1))
    select_on = opened.config.select_on
    metrics = _validated(assembly, device, select_on)
    history = {epoch: {f"val/{name}": value for name, value in metrics.items()}}
    opened.report(epoch, history[epoch])
    training = Training(history, epoch, 0.0, None, _NOT_TRAINED)
    answer = partial(predict, assembly.adapted, assembly.data, device=device.torch)
    test = settled(answer("test"), select_on, lambda: answer("validation"))
    prefix = Prefix(0, "nothing is trained", seconds=0.0, gib=0.0, first_token_only=False)
    names = ("train_seconds", "wall_seconds", "samples_per_second", "peak_memory_mib")
    costs = dict.fromkeys(names, (None, _NOT_TRAINED))
    return opened.finish(training, test, prefix, costs)
