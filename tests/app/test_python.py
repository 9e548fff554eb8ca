"""`import adapterlab`: runs and studies from Python, which leave the process as it was."""

import asyncio
import csv
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import hydra
import pandas as pd
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import adapterlab
from adapterlab.app.python_calls import in_python, no_main_program
from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.base.interrupts import SIGNALS
from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.config.multirun import MULTIRUN_VARIABLE, STUDY_VARIABLE
from adapterlab.config.overrides import VARIED_VARIABLE
from adapterlab.drawing.pictures import Pictures
from lab import TINY

OPTIONS = [option for option in TINY if option != "tracking=none"]


def test_importing_it_loads_nothing_and_names_what_there_is() -> None:
    code = """
import sys, adapterlab
assert not {"torch", "hydra", "pandas", "mlflow", "numpy"} & set(sys.modules), sorted(sys.modules)
assert {"train", "sweep", "study", "Study", "AdapterLabError"} <= set(dir(adapterlab))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    for name in adapterlab.__all__:
        assert getattr(adapterlab, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = adapterlab.nothing_of_the_kind


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("python")


@pytest.fixture(scope="module", autouse=True)
def _not_frozen() -> Iterator[None]:
    """Have nothing frozen, so that a call that freezes is seen."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _untouched(root: Path, no_pictures: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All that a caller has, before and after."""
    monkeypatch.setenv("ADAPTERLAB_ROOT", str(root))
    monkeypatch.delenv("ADAPTERLAB_DATA_DIR", raising=False)
    before = _state()
    yield
    assert _state() == before
    names = (STUDY_VARIABLE, VARIED_VARIABLE, MULTIRUN_VARIABLE)
    assert not [name for name in names if name in os.environ]


def _state() -> list[Any]:
    handlers = [signal.getsignal(number) for number in SIGNALS]
    program = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    drawn = torch.get_rng_state().tolist(), torch.get_num_threads()
    return [*handlers, *program, Path.cwd(), gc.get_freeze_count() > 0, sys.excepthook, *drawn]


@pytest.fixture(scope="module")
def study(root: Path) -> adapterlab.Study:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAPTERLAB_ROOT", str(root))
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        patch.setattr("adapterlab.runs.packs.pack.PicturesBeside", Pictures)
        return adapterlab.sweep(
            [*OPTIONS, "adapter=full,head", "seed=0,1,2", "optimizer=adamw", "study=swept"]
        )


def test_a_run_gives_its_result_and_is_found_again(root: Path) -> None:
    options = [*OPTIONS, "adapter=lora", "study=one", "seed=5"]
    result = adapterlab.train(options)
    assert 0 <= result.metrics["test/accuracy"] <= 1
    assert result.run_id is not None
    assert result.folder.is_relative_to(root)
    # As on the command line.
    assert result.tags["arm_options"] == "adapter=lora optimizer.lr=0.01"
    again = adapterlab.train([*options, "resume=true"])
    assert (again.run_id, again.metrics) == (result.run_id, result.metrics)


def test_a_program_of_hydra_keeps_its_own_state(root: Path) -> None:
    with composing(conf_folder.CONF):
        own = GlobalHydra.instance().hydra
        with pytest.raises(ConfigError, match="epochs=0 should be"):
            adapterlab.train([*OPTIONS, "epochs=0"])
        assert GlobalHydra.instance().hydra is own
        assert hydra.compose("train", [f"root={root}"]).root == str(root)


def test_a_sweep_gives_the_study_with_every_run(study: adapterlab.Study) -> None:
    assert set(study.arms["arm"]) == {"full", "head"}  # by what was varied, not by the optimizer
    assert list(study.arms["dataset"].unique()) == ["digits_rotated"]
    assert len(study.runs) == 6
    assert set(study.runs["status"]) == {"finished"}
    assert set(study.best()["arm"]) <= {"full", "head"}
    assert study.verdict
    assert "<table>" in study._repr_html_()
    one, other = study.compare("full", "head"), study.compare("head", "full")
    assert one.difference == -other.difference
    shown = study.figures["accuracy"]._repr_png_()
    assert shown[0].startswith(b"\x89PNG")
    for ask in (lambda: study.figures["none"], lambda: study.compare("full", "lora")):
        with pytest.raises(ConfigError, match="allowed: "):
            ask()
    with pytest.raises(ConfigError, match="a=0 should be the name of an arm"):
        study.compare(0, 1)  # type: ignore[arg-type]


def test_frames_and_files_are_of_one_source(study: adapterlab.Study) -> None:
    report = study.report()
    assert report.html is not None
    for name, frame in (("arms", study.arms), ("runs", study.runs)):
        with (report.html.parent / f"{name}.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        assert [column for column in frame.columns if column != "dataset"] == header
        for (_, values), row in zip(frame.iterrows(), rows, strict=True):
            for column, cell in zip(header, row, strict=True):
                value = values[column]
                assert pd.isna(value) == (cell == "") or value == "", column
                if isinstance(value, float) and not pd.isna(value):
                    assert value == float(cell), column


def test_what_was_not_measured_is_missing_and_says_why(study: adapterlab.Study) -> None:
    absent = study.missing[study.missing["figure"] == "cost/samples_per_second"]
    assert len(absent) == 6
    assert all(absent["why"])
    assert (
        "cost/samples_per_second" not in study.runs
        or study.runs["cost/samples_per_second"].isna().all()
    )


def test_a_study_is_read_wherever_it_is(study: adapterlab.Study, root: Path) -> None:
    uri = f"sqlite:///{root / 'mlruns' / 'mlflow.db'}"
    read = adapterlab.study(
        "swept",
        reference="head",
        tracking_uri=uri,
        experiment="adapterlab",
        root=str(root),
        margin=1,
    )
    assert list(read.runs["run_id"]) != []
    assert set(read.runs["run_id"]) == set(study.runs["run_id"])
    head = read.arms[read.arms["arm"] == "head"]
    assert list(head["verdict"]) == ["reference"]
    with pytest.raises(AdapterLabError, match="no runs in experiment other"):
        adapterlab.study("swept", experiment="other")
    with pytest.raises(ConfigError, match="margin"):
        adapterlab.study("swept", margin=-1)


def test_runs_that_diverge_stay_in_the_study(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(UserWarning, match="not all runs of study diverging finished: "):
        study = adapterlab.sweep(
            [*OPTIONS, "adapter=full", "optimizer.lr=0.01,1e30", "seed=0,1", "study=diverging"]
        )
    lines = capsys.readouterr().out.splitlines()
    for seed in (0, 1):  # named by what was varied
        assert any(line.startswith(f"full optimizer.lr=0.01 seed {seed}: ") for line in lines)
    assert sorted(study.runs["status"]) == ["diverged", "diverged", "finished", "finished"]
    assert all(study.runs.loc[study.runs["status"] == "diverged", "reason"].str.contains("nan|inf"))
    lost = study.arms[study.arms["runs"] == 0]
    assert list(lost["verdict"]) == ["all 2 diverged"]
    assert lost["test/accuracy"].isna().all()
    assert study.best().empty  # two seeds say nothing about the best


@pytest.mark.parametrize(
    ("call", "options", "said"),
    [
        (adapterlab.train, ["adapter=lore"], "did you mean lora"),
        (adapterlab.train, ["nothing=1"], "nothing is not an option"),
        (adapterlab.train, ["seed=0,1"], "adapterlab.sweep"),
        (adapterlab.train, "adapter=lora", "options are a list"),
        (adapterlab.train, ["-m"], "flag of the command line; allowed: option=value"),
        (adapterlab.train, ["--config-dir=c"], "allowed: hydra.searchpath=[file:///FOLDER]"),
        (adapterlab.train, ["plan=true"], "plan=true is the command line's"),
        (adapterlab.sweep, ["plan=true", "seed=0,1"], "plan=true is the command line's"),
        (adapterlab.sweep, ["tracking=none", "seed=0,1"], "leaves no study"),
        (adapterlab.sweep, ["seed=0,1", "study=a,b"], "study=a,b is several studies"),
        (adapterlab.sweep, ["hydra.launcher.processes=x", "seed=0,1"], "valid integer"),
        (adapterlab.sweep, ["hydra/sweeper=tuned"], "hydra.sweeper.arms is empty"),
        (adapterlab.sweep, ["adapter=lora", "adapter.rank=0,1", "study=no"], "adapter.rank=0"),
        (
            adapterlab.sweep,
            ["hydra/launcher=basic", "adapter=lora", "adapter.rank=0,1", "study=no"],
            "adapter.rank=0",
        ),
    ],
)
def test_a_mistake_is_one_line(call: Any, options: Any, said: str, root: Path) -> None:
    before = sorted(root.rglob("result.json"))
    with pytest.raises(ConfigError) as error:
        call(options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(root.rglob("result.json")) == before


def test_it_works_in_a_thread_and_under_an_event_loop(study: adapterlab.Study) -> None:
    found: list[adapterlab.Study] = []
    thread = threading.Thread(target=lambda: found.append(adapterlab.study("swept")))
    thread.start()
    found.append(adapterlab.study("swept"))
    thread.join()

    async def in_notebook() -> None:
        found.append(adapterlab.study("swept"))

    asyncio.run(in_notebook())
    assert [one.verdict for one in found] == [study.verdict] * 3


def test_the_interpreter_stays_open() -> None:
    def stop() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            raise KeyboardInterrupt
        finally:
            sys.exit(1)  # as Lightning does

    with pytest.raises(KeyboardInterrupt), in_python():
        stop()

    def swallow() -> None:
        with suppress(KeyboardInterrupt):  # as a database does
            signal.raise_signal(signal.SIGINT)
        raise AdapterLabError("the store cannot be made")

    with pytest.raises(KeyboardInterrupt), in_python():
        swallow()
    with pytest.raises(AdapterLabError, match="code 3"), in_python():
        sys.exit(3)
    with pytest.raises(AdapterLabError, match="out of memory"), in_python():
        raise MemoryError
    with pytest.raises(ZeroDivisionError), in_python():  # nobody's mistake but ours
        _ = 1 / 0


def test_worker_processes_do_not_run_the_callers_program() -> None:
    """A script without a guard would call the sweep again in each of them."""
    main = sys.modules["__main__"]
    before = dict(vars(main))
    with no_main_program():
        assert not {"init_main_from_name", "init_main_from_path"} & set(
            spawn.get_preparation_data("worker")
        )
    assert dict(vars(main)) == before
